package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotagent/internal/quantity"
)

// The ways of Hub.Auth.
const (
	AuthSAS      = "sas"
	AuthSASPlain = "sas-plain"
	AuthX509     = "x509"
)

// The ways of Telemetry.Format.
const (
	FormatJSON  = "json"
	FormatSenML = "senml"
)

func (l *loader) bad(key, msg string) { l.ps.add(l.root.place(key), key, msg) }

// missing reports a key that must be there, unless it may have been on a line that could not be read.
func (l *loader) missing(key, msg string) {
	if !l.damaged && !l.guessed[key] {
		l.bad(key, msg)
	}
}

// check judges what the tables say.
func (l *loader) check() {
	f := l.file
	l.checkSource()
	l.checkAuth()
	l.checkHubValues(&f.Hub)
	l.oneOf("hub.auth", f.Hub.Auth, []string{AuthSAS, AuthSASPlain, AuthX509})
	l.checkTransport(&f.Hub)
	l.within("hub.token_ttl", f.Hub.TokenTTL, time.Minute, 24*time.Hour)

	if f.Agent.StateDir == "" {
		l.bad("agent.state_dir", "is empty; name a directory, or take the line out for /var/lib/iotagent")
	}
	l.within("agent.drain_timeout", f.Agent.DrainTimeout, 0, 10*time.Minute)
	l.oneOf("agent.log_level", f.Agent.LogLevel, []string{"debug", "info", "warn", "error"})

	const least = 1 << 20
	if b := f.Outbox.MaxBytes; b.Problem() == "" && b.N < least {
		l.bad("outbox.max_bytes", fmt.Sprintf("want at least %v, got %v", quantity.Bytes{N: least}, b))
	}
	l.within("outbox.max_loss", f.Outbox.MaxLoss, 0, 24*time.Hour)
	l.oneOf("outbox.order", f.Outbox.Order, []string{"oldest-first", "live-first"})

	if n := f.Telemetry.MaxMessageBytes; n < 512 || n > 262144 {
		l.bad("telemetry.max_message_bytes", fmt.Sprintf("want 512 to 262144, got %d", n))
	}
	l.within("telemetry.flush_interval", f.Telemetry.FlushInterval, 100*time.Millisecond, 24*time.Hour)
	l.oneOf("telemetry.format", f.Telemetry.Format, []string{FormatJSON, FormatSenML})
	l.checkFlash()
	l.checkMetrics()
}

// checkMetrics checks the address, and that nobody else can read the metrics unless that is wanted.
func (l *loader) checkMetrics() {
	const key, example = "metrics.listen", `"127.0.0.1:9464"`
	m := l.file.Metrics
	if !l.has(key) {
		if m.AllowRemote {
			l.bad("metrics.allow_remote", "does nothing without listen")
		}
		return
	}
	host, port, err := net.SplitHostPort(m.Listen)
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		l.bad(key, "want an address and a port such as "+example)
	case perr != nil || n == 0:
		l.bad(key, fmt.Sprintf("want a port from 1 to 65535, such as in %s, got %q", example, shorten(port)))
	case !m.AllowRemote && !loopback(host):
		l.bad(key, "others could read the metrics; want a loopback address such as "+example+", or allow_remote = true beside it")
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// checkFlash warns when messages are written to the disk before the hub has had the time to answer.
func (l *loader) checkFlash() {
	loss, flush := l.file.Outbox.MaxLoss, l.file.Telemetry.FlushInterval
	if loss.Duration > flush.Duration {
		return
	}
	key := "outbox.max_loss"
	if !l.has(key) {
		key = "telemetry.flush_interval"
	}
	msg := "every reading will be a message of its own and be written to the disk before it is sent, because outbox.max_loss is 0s"
	if loss.Duration > 0 {
		msg = fmt.Sprintf("messages will be sealed after half of outbox.max_loss (%v), which is not longer than telemetry.flush_interval (%v), "+
			"and be written to the disk unless the hub has them within the other half", loss, flush)
	}
	l.ps.warn(l.root.place(key), key, msg)
}

// checkSource checks that exactly one source says where to connect, and that nothing contradicts it.
func (l *loader) checkSource() {
	sources := []string{"connection_string_file", "connection_string", "host"}
	source, guessed := "", l.guessed[".hub"]
	for _, key := range sources {
		guessed = guessed || l.guessed["hub."+key]
	}
	for _, e := range l.hub().entries {
		switch {
		case !slices.Contains(sources, e.name):
		case source == "":
			source = e.name
		default:
			l.excludes(source, e.name)
		}
	}
	switch source {
	case "":
		if !guessed {
			l.missing("hub", "where to connect is missing: want connection_string_file, or connection_string, or host with device_id and key_file")
		}
	case "host":
		if !l.has("hub.device_id") {
			l.missing("hub.device_id", "is missing beside host")
		}
		if !l.has("hub.key_file") && !l.x509() {
			l.missing("hub.key_file", `is missing beside host (or auth = "x509")`)
		}
	default:
		for _, key := range []string{"device_id", "module_id", "key_file"} {
			if l.has("hub." + key) {
				l.excludes(source, key)
			}
		}
	}
}

// hub returns the merged [hub], an empty table when there is none.
func (l *loader) hub() *table {
	if e := l.root.get("hub"); e != nil && e.val.kind == kindTable {
		return e.val.table
	}
	return &table{at: l.root.at}
}

func (l *loader) x509() bool { return l.file.Hub.Auth == AuthX509 }

// checkAuth checks that the files of the chosen way to prove who we are, and no others, are named.
func (l *loader) checkAuth() {
	cert, key := l.has("hub.cert_file"), l.has("hub.private_key_file")
	switch {
	case l.x509():
		if !cert {
			l.missing("hub.cert_file", `is missing beside auth = "x509"`)
		}
		if !key {
			l.missing("hub.private_key_file", `is missing beside auth = "x509"`)
		}
		for _, key := range []string{"key_file", "secondary_key_file"} {
			if e := l.hub().get(key); e != nil {
				l.ps.add(e.at, "hub."+key, `is not used with auth = "x509", at `+l.hub().get("auth").at.in(e.at.src)+"; take one of them out")
			}
		}
	case cert || key:
		// A connection string may still say x509=true, which decides when the file says nothing.
		if l.has("hub.auth") || l.has("hub.host") {
			l.bad("hub."+first(cert, "cert_file", "private_key_file"), `is used only with auth = "x509"`)
		} else if cert != key {
			l.missing("hub."+first(cert, "private_key_file", "cert_file"), "is missing beside "+first(cert, "cert_file", "private_key_file"))
		}
	}
}

func first(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// excludes reports the later of two keys of [hub] that contradict each other, citing the other.
func (l *loader) excludes(a, b string) {
	ea, eb := l.hub().get(a), l.hub().get(b)
	if ea.at.src == eb.at.src && ea.at.off > eb.at.off {
		a, b, ea, eb = b, a, eb, ea
	}
	l.ps.add(eb.at, "hub."+b, "contradicts "+a+" at "+ea.at.in(eb.at.src)+"; take one of them out")
}

// checkHubValues checks texts without repeating them: a secret may have landed on the wrong line.
func (l *loader) checkHubValues(h *Hub) {
	for _, v := range [...]struct{ key, text string }{
		{"connection_string_file", h.ConnectionStringFile},
		{"connection_string", h.ConnectionString.Text()},
		{"host", h.Host},
		{"device_id", h.DeviceID},
		{"module_id", h.ModuleID},
		{"key_file", h.KeyFile},
		{"secondary_key_file", h.SecondaryKeyFile},
		{"ca_file", h.CAFile},
		{"cert_file", h.CertFile},
		{"private_key_file", h.PrivateKeyFile},
		{"proxy_credentials_file", h.ProxyCredentialsFile},
	} {
		key := "hub." + v.key
		switch {
		case !l.has(key):
		case strings.TrimSpace(v.text) == "":
			l.bad(key, "is empty; fill it in or take the line out")
		case v.key == "connection_string":
		case strings.Contains(strings.ToLower(v.text), "sharedaccess"):
			l.bad(key, "holds a connection string; write that under connection_string, or better into a file for connection_string_file")
		case strings.HasSuffix(v.key, "_file") && (strings.HasSuffix(v.text, "=") || strings.Contains(v.text, "-----BEGIN")):
			l.bad(key, "want the path of a file, got what looks like a key; put it into a file and name that here")
		case v.key == "host" && !hostName().MatchString(v.text):
			l.bad(key, `want the hub's name alone, such as "myhub.azure-devices.net": no scheme, no path, and the port under port`)
		case strings.HasSuffix(v.key, "_id") && !identity().MatchString(v.text):
			l.bad(key, "want 1 to 128 ASCII letters, digits or any of - . % _ # * ? ! ( ) , : = @ $ ' +")
		}
	}
}

func hostName() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$`) }

// identity is what Microsoft's "Understand the identity registry" allows as a device or module id.
func identity() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9\-.%_#*?!(),:=@$'+]{1,128}$`)
}

func (l *loader) within(key string, d quantity.Duration, low, high time.Duration) {
	if msg := outside(d, low, high); msg != "" {
		l.bad(key, msg)
	}
}

// oneOf checks a choice.
func (l *loader) oneOf(key, got string, known []string) {
	if !slices.Contains(known, got) {
		l.bad(key, choice(known, got))
	}
}

func choice(known []string, got string) string {
	const longest = 24 // longer is no slip, and may be a secret on the wrong line
	if len(got) > longest {
		return "want " + oneOf(known) + ", got something else"
	}
	msg := fmt.Sprintf("want %s, got %q", oneOf(known), got)
	if s := suggest(got, known); s != "" {
		msg += `; did you mean "` + s + `"?`
	}
	return msg
}
