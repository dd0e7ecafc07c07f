package config

import "log/slog"

// Secret is text from the configuration that must not be shown. It never prints itself.
type Secret struct {
	text *string // a pointer, so that fmt cannot follow it from an unexported field either
}

func newSecret(text string) Secret { return Secret{&text} }

// Text returns the secret itself.
func (s Secret) Text() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.Text() == "" }

// String hides the secret.
func (s Secret) String() string { return "[secret]" }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return "config.Secret{…}" }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
