// Package config reads the TOML configuration into validated, typed values and reports every mistake of every file in one run, each
// with file, line, column and what to write instead (ARCHITECTURE.md).
//
// It knows no sensor and no command by name: the lists come from the caller, and each type decodes and judges its own table.
// Secrets are not read by Load but by Hub.Credentials, because most commands must work without them.
package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"iotagent/c2d"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// Options says what a configuration may name.
type Options struct {
	// Sensors are the drivers that [[sensor]] may choose from; none by default.
	Sensors []sensors.Driver
	// Commands are the types that [[command]] may choose from; none by default.
	Commands []c2d.Type
	// Getenv looks up CREDENTIALS_DIRECTORY; default os.Getenv.
	Getenv func(string) string
	// Logger is told what happens to a certificate after it was read first; default a discarding one.
	Logger *slog.Logger
}

func (o *Options) getenv(name string) string {
	if o == nil || o.Getenv == nil {
		return os.Getenv(name)
	}
	return o.Getenv(name)
}

// File is a whole configuration: the main file and what conf.d adds to it, with every default filled in.
type File struct {
	// Path is the main file's.
	Path      string    `toml:"-"`
	Hub       Hub       `toml:"hub"`
	Agent     Agent     `toml:"agent"`
	Outbox    Outbox    `toml:"outbox"`
	Telemetry Telemetry `toml:"telemetry"`
	Metrics   Metrics   `toml:"metrics"`
	// Sensors and Commands stand in the order of the files.
	Sensors  []Sensor  `toml:"-"`
	Commands []Command `toml:"-"`
	// Warnings are about what will work, but not as one may think.
	Warnings Errors `toml:"-"`
}

// Hub is [hub]: where to connect and as whom. Hub.Credentials reads the files that it names.
type Hub struct {
	// ConnectionStringFile, ConnectionString or Host is set, and only one of them.
	ConnectionStringFile string `toml:"connection_string_file"`
	ConnectionString     Secret `toml:"connection_string"`
	// Host is the hub's name, without a port.
	Host string `toml:"host"`
	// DeviceID and, optionally, ModuleID go with Host; so does KeyFile, unless Auth is "x509".
	DeviceID string `toml:"device_id"`
	ModuleID string `toml:"module_id"`
	KeyFile  string `toml:"key_file"`
	// SecondaryKeyFile may stand beside any key; what it holds is used when the hub refuses that.
	SecondaryKeyFile string `toml:"secondary_key_file"`
	// Port is for AMQP over TLS and beats the one in a connection string; 0 means that the file says none.
	Port int `toml:"port"`
	// WebSocketPort is for AMQP over WebSocket; default 443.
	WebSocketPort int `toml:"websocket_port"`
	// CAFile holds the roots to trust in place of the system's.
	CAFile string `toml:"ca_file"`
	// Auth is "sas" (default), "sas-plain" or "x509".
	Auth string `toml:"auth"`
	// CertFile and PrivateKeyFile go with "x509".
	CertFile       string `toml:"cert_file"`
	PrivateKeyFile string `toml:"private_key_file"`
	// Transport is "amqps", "websocket" or "auto" (default), which finds out.
	Transport string `toml:"transport"`
	// Proxy is "http://host:port", "none", or "" for what the environment says. ProxyCredentialsFile holds user:password for it.
	Proxy                string `toml:"proxy"`
	ProxyCredentialsFile string `toml:"proxy_credentials_file"`
	// KeepAlive is how long the link may be idle before it is probed; default 30 s.
	KeepAlive quantity.Duration `toml:"keepalive"`
	// TokenTTL is the life of a minted token; default 1 h.
	TokenTTL quantity.Duration `toml:"token_ttl"`

	origin *origin
}

// Agent is [agent].
type Agent struct {
	// StateDir holds outbox, ledger and control socket; absolute, default /var/lib/iotagent. One written as relative is beside the configuration file.
	StateDir string `toml:"state_dir"`
	// DrainTimeout is how long a stop waits for the outbox to empty; default 10 s.
	DrainTimeout quantity.Duration `toml:"drain_timeout"`
	// LogLevel is "debug", "info" (default), "warn" or "error".
	LogLevel string `toml:"log_level"`
}

// Outbox is [outbox].
type Outbox struct {
	// MaxBytes is the quota of the queue; default 256 MiB.
	MaxBytes quantity.Bytes `toml:"max_bytes"`
	// MinFree is how much of the disk the queue leaves free; nil when the file says nothing, which leaves it to package outbox. Zero is no
	// bound.
	MinFree *quantity.Bytes `toml:"min_free"`
	// MaxLoss is how many seconds of readings a power cut may take; default 10 s. Zero writes every reading to the disk at once.
	MaxLoss quantity.Duration `toml:"max_loss"`
	// Order is "oldest-first" (default) or "live-first".
	Order string `toml:"order"`
}

// Telemetry is [telemetry].
type Telemetry struct {
	// MaxMessageBytes counts body and property values; default 4096, 512 to 262144.
	MaxMessageBytes int `toml:"max_message_bytes"`
	// FlushInterval is the longest that a reading waits for others to share its message; default 5 s.
	FlushInterval quantity.Duration `toml:"flush_interval"`
	// Format is "json" (default) or "senml" (RFC 8428).
	Format string `toml:"format"`
}

// Metrics is [metrics].
type Metrics struct {
	// Listen is the address that serves them, "" (default) for none. It is a loopback address unless AllowRemote says otherwise.
	Listen      string `toml:"listen"`
	AllowRemote bool   `toml:"allow_remote"`
}

// Sensor is one [[sensor]].
type Sensor struct {
	sensors.Common
	// Config is what the driver's New returned, decoded and valid.
	Config sensors.Config
	// File and Line say where the block stands.
	File string
	Line int
}

// Command is one [[command]].
type Command struct {
	c2d.Common
	// Config is what the type's New returned, decoded and valid.
	Config c2d.Config
	// File and Line say where the block stands.
	File string
	Line int
}

// Load reads the file at path and conf.d/*.toml beside it. Its error is an Errors with every mistake in them.
func Load(path string, o *Options) (*File, error) {
	l := newLoader(path, o)
	data, err := readFile(path)
	if err != nil {
		return nil, l.failed(err)
	}
	l.add(path, data)
	extra, err := dropIns(path)
	if err != nil {
		l.fail(err)
	}
	for _, name := range extra {
		l.ps.file(name)
		data, err := readFile(name)
		if err != nil {
			l.fail(err)
			continue
		}
		l.add(name, data)
	}
	return l.finish()
}

// Parse reads one configuration that stands for itself; name is what its errors call it. It opens no file.
func Parse(name string, data []byte, o *Options) (*File, error) {
	l := newLoader(name, o)
	l.add(name, data)
	return l.finish()
}

// defaults returns the configuration of an empty file.
func defaults(path string) *File {
	return &File{
		Path: path,
		Hub: Hub{
			Auth: AuthSAS, Transport: "auto", WebSocketPort: 443, KeepAlive: quantity.Seconds(30), TokenTTL: quantity.Duration{Duration: time.Hour},
		},
		Agent:     Agent{StateDir: "/var/lib/iotagent", DrainTimeout: quantity.Seconds(10), LogLevel: "info"},
		Outbox:    Outbox{MaxBytes: quantity.Bytes{N: 256 << 20}, MaxLoss: quantity.Seconds(10), Order: "oldest-first"},
		Telemetry: Telemetry{MaxMessageBytes: 4096, FlushInterval: quantity.Seconds(5), Format: "json"},
	}
}

// beside returns path, taken from the main file's directory when it is relative.
func (f *File) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	abs, err := filepath.Abs(filepath.Join(filepath.Dir(f.Path), path))
	if err != nil {
		return path // no working directory: the file's own calls will say so
	}
	return abs
}
