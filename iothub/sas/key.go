// Package sas reads and writes IoT Hub's connection strings and shared access signatures, as described in Microsoft's
// "Control access to IoT Hub by using shared access signatures". Nothing in it prints a secret unless asked by name (Text).
package sas

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Key is a shared access key, decoded. It never prints itself.
type Key struct {
	secret *secret
}

// secret stands behind two pointers, because fmt does not call String on what it finds in unexported fields, and follows one.
type secret struct{ bytes *[]byte }

func newSecret(raw []byte) *secret { return &secret{&raw} }

// NewKey returns the key with these bytes, which it copies.
func NewKey(raw []byte) Key {
	if len(raw) == 0 {
		return Key{}
	}
	return Key{newSecret(bytes.Clone(raw))}
}

// ParseKey decodes a key as the portal shows it, in base64; space around it is ignored.
func ParseKey(b64 string) (Key, error) {
	b64 = trim(b64)
	if b64 == "" {
		return Key{}, errors.New("shared access key is empty")
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(b64, "="))
	if err != nil || len(raw) == 0 {
		return Key{}, errors.New("shared access key is not base64: copy it again, whole, from the portal")
	}
	return NewKey(raw), nil
}

// IsZero reports whether the key is absent.
func (k Key) IsZero() bool { return k.secret == nil }

// Equal reports whether both are the same key.
func (k Key) Equal(other Key) bool { return hmac.Equal(k.raw(), other.raw()) }

// Text returns the key in base64, as it stands in connection strings. It is the secret itself.
func (k Key) Text() string { return base64.StdEncoding.EncodeToString(k.raw()) }

// String hides the key.
func (k Key) String() string { return "[key]" }

// GoString hides the key from %#v.
func (k Key) GoString() string { return "sas.Key{…}" }

// Token returns a shared access signature for a resource ("myhub.azure-devices.net/devices/pi-17", see Resource).
// Policy is the name of the key's policy, "" for a device's own key. The text is a secret until it expires.
func (k Key) Token(resource string, expires time.Time, policy string) string {
	sr := escape(resource)
	se := strconv.FormatInt(expires.Unix(), 10)
	sig := base64.StdEncoding.EncodeToString(k.sign(sr, se))
	text := prefix + "sr=" + sr + "&sig=" + escape(sig) + "&se=" + se
	if policy != "" {
		text += "&skn=" + escape(policy)
	}
	return text
}

func (k Key) raw() []byte {
	if k.secret == nil {
		return nil
	}
	return *k.secret.bytes
}

func (k Key) sign(sr, se string) []byte {
	mac := hmac.New(sha256.New, k.raw())
	mac.Write([]byte(sr + "\n" + se)) // never fails (hash.Hash)
	return mac.Sum(nil)
}

// escape percent-encodes all but letters, digits and -_.~, in upper case, as JavaScript's encodeURIComponent does.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func trim(s string) string { return strings.Trim(s, " \t\r\n\v\f\u0085\u00a0\ufeff\x00") }
