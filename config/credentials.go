package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"iotagent/iothub/sas"
	"iotagent/iothub/transport"
)

// Credentials says which hub to connect to, as whom, and with what secret. It prints without its secrets.
type Credentials struct {
	// Host is the hub's name, without a port; tokens are made for it.
	Host string
	// Gateway, with an optional port, takes the place of Host in dialing; "" for none.
	Gateway string
	// Port to dial when Gateway names none; 0 means the default.
	Port int
	// DeviceID is never empty; ModuleID may be.
	DeviceID, ModuleID string
	// Auth is AuthSAS, AuthSASPlain or AuthX509.
	Auth string
	// Key signs tokens; Token is a complete signature in its place. Both are empty with AuthX509.
	Key   sas.Key
	Token string
	// SecondaryKey is for when the hub refuses the first; it may be empty.
	SecondaryKey sas.Key
	// CAFile, CertFile and PrivateKeyFile are the paths found, "" where the configuration names none.
	CAFile, CertFile, PrivateKeyFile string
	// TLS holds the roots of CAFile; nil without one.
	TLS *tls.Config
	// Certificate is the client's, read again when its files change; nil but for AuthX509.
	Certificate *transport.CertificateFile
	// Proxy, with user and password, is what Hub.Proxy names; nil when that is "none" or "".
	Proxy *url.URL
}

// String names hub and device.
func (c Credentials) String() string {
	s := c.Host + "/devices/" + c.DeviceID
	if c.ModuleID != "" {
		s += "/modules/" + c.ModuleID
	}
	return s
}

// GoString hides the secrets from %#v.
func (c Credentials) GoString() string { return "config.Credentials{" + c.String() + "}" }

// LogValue hides the secrets from logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// origin is where a Hub came from.
type origin struct {
	dir, path string
	at        func(key string) pos
	has       func(key string) bool
}

// reading collects what the files of a Hub say.
type reading struct {
	h       *Hub
	creds   string // $CREDENTIALS_DIRECTORY
	log     *slog.Logger
	ps      problems
	outcome Credentials
}

// Credentials reads the secrets that h names. Its error is an Errors; it holds no secret.
func (h *Hub) Credentials(o *Options) (Credentials, error) {
	r := &reading{h: h, creds: o.getenv("CREDENTIALS_DIRECTORY")}
	if o != nil {
		r.log = o.Logger
	}
	r.outcome = Credentials{Host: h.Host, Port: h.Port, DeviceID: h.DeviceID, ModuleID: h.ModuleID, Auth: h.Auth}
	switch {
	case h.ConnectionStringFile != "":
		if text, ok := r.secret("hub.connection_string_file", h.ConnectionStringFile); ok {
			r.connectionString("hub.connection_string_file", text)
		}
	case !h.ConnectionString.IsZero():
		r.ownFile()
		r.connectionString("hub.connection_string", h.ConnectionString.Text())
	case h.KeyFile != "":
		if text, ok := r.secret("hub.key_file", h.KeyFile); ok {
			r.outcome.Key = r.key("hub.key_file", text)
		}
	}
	r.secondaryKey()
	r.roots()
	r.certificate()
	r.proxy()
	if len(r.ps.found) > 0 {
		return Credentials{}, r.ps.sorted(r.ps.found)
	}
	return r.outcome, nil
}

func (r *reading) bad(key, msg string, err error) {
	e := &Error{Key: key, Msg: msg, Err: err}
	if r.h.origin != nil {
		e = newError(r.h.origin.at(key), key, msg)
		e.Err = err
	}
	r.ps.found = append(r.ps.found, e)
}

// connectionString takes a connection string apart; key is where it came from.
func (r *reading) connectionString(key, text string) {
	c, err := sas.ParseConnectionString(text)
	if err != nil {
		r.bad(key, err.Error(), err)
		return
	}
	out := &r.outcome
	out.DeviceID, out.ModuleID, out.Key, out.Token = c.DeviceID, c.ModuleID, c.Key, c.Token
	switch {
	case c.DeviceID == "":
		r.bad(key, "is not a device's connection string but a service's (it has no DeviceId); take the one shown with the device", nil)
	case c.X509 && out.Auth != AuthX509 && r.says("hub.auth"):
		r.bad(key, `the connection string says x509=true, but auth is "`+out.Auth+`"`, nil)
	case c.X509:
		out.Auth = AuthX509
		if r.h.CertFile == "" || r.h.PrivateKeyFile == "" {
			r.bad(key, "the connection string says x509=true: want cert_file and private_key_file too", nil)
		}
	case out.Auth == AuthX509:
		r.bad(key, `auth is "x509", but the connection string holds a key; take the one with x509=true`, nil)
	}
	host, port := r.split(key, c.HostName)
	gateway, gatewayPort := r.split(key, c.GatewayHostName)
	out.Host, out.Gateway = host, gateway
	switch {
	case out.Port != 0:
	case gateway == "":
		out.Port = port
	case gatewayPort != 0:
		out.Gateway = c.GatewayHostName
	}
}

func (r *reading) says(key string) bool { return r.h.origin != nil && r.h.origin.has(key) }

// split parts a host from its port, 0 when it has none.
func (r *reading) split(key, addr string) (host string, port int) {
	host, digits, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	port, err = strconv.Atoi(digits)
	if err != nil || port < 1 || port > 65535 {
		r.bad(key, "a port in the connection string is not a number from 1 to 65535", nil)
	}
	return host, port
}

func (r *reading) key(key, text string) sas.Key {
	if strings.Contains(text, ";") {
		msg := "the file holds a connection string, not a key; "
		if key == "hub.key_file" {
			msg += "name it under connection_string_file, without host, device_id and key_file"
		} else {
			msg += "put its SharedAccessKey alone into the file"
		}
		r.bad(key, msg, nil)
		return sas.Key{}
	}
	k, err := sas.ParseKey(text)
	if err != nil {
		r.bad(key, err.Error(), err)
	}
	return k
}

func (r *reading) secondaryKey() {
	const key = "hub.secondary_key_file"
	switch {
	case r.h.SecondaryKeyFile == "":
	case r.outcome.Auth == AuthX509:
		r.bad(key, "is of no use: the connection string says x509=true", nil)
	default:
		if text, ok := r.secret(key, r.h.SecondaryKeyFile); ok {
			r.outcome.SecondaryKey = r.key(key, text)
		}
	}
}

func (r *reading) roots() {
	if r.h.CAFile == "" {
		return
	}
	path, data, ok := r.open("hub.ca_file", r.h.CAFile, false)
	pool := x509.NewCertPool()
	if ok && !pool.AppendCertsFromPEM(data) {
		r.bad("hub.ca_file", path+": holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", nil)
	}
	r.outcome.CAFile = path
	r.outcome.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}

// certificate reads the client's certificate, and sees to it that it is read again by the same rules.
func (r *reading) certificate() {
	if r.outcome.Auth != AuthX509 || r.h.CertFile == "" || r.h.PrivateKeyFile == "" {
		return
	}
	cert, _, certOK := r.open("hub.cert_file", r.h.CertFile, false)
	key, _, keyOK := r.open("hub.private_key_file", r.h.PrivateKeyFile, true)
	r.outcome.CertFile, r.outcome.PrivateKeyFile = cert, key
	if !certOK || !keyOK {
		return
	}
	guarded := !inside(r.creds, key)
	file, err := transport.LoadCertificate(cert, key, &transport.CertificateOptions{
		ReadCertificate: func(path string) ([]byte, error) { return readSecret(path, false) },
		ReadKey:         func(path string) ([]byte, error) { return readSecret(path, guarded) },
		Logger:          r.log,
	})
	if err != nil {
		r.bad("hub.cert_file", err.Error(), err)
		return
	}
	r.outcome.Certificate = file
}

// ownFile checks the mode of the configuration file that holds the connection string itself.
func (r *reading) ownFile() {
	if r.h.origin == nil {
		return
	}
	path := r.h.origin.at("hub.connection_string").src.name
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		// Parsed from memory.
	case err != nil:
		r.bad("hub.connection_string", "the mode of "+path+" cannot be told: "+cause(err), err)
	case exposed(info.Mode()):
		r.bad("hub.connection_string", exposedMsg(path, info.Mode()), nil)
	}
}

// inside reports whether path is below dir, by their names.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return dir != "" && err == nil && filepath.IsLocal(rel)
}
