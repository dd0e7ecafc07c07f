package sas

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const prefix = "SharedAccessSignature "

// Token is a shared access signature, taken apart. It prints without its signature.
type Token struct {
	// Resource is what the token is for, decoded: "myhub.azure-devices.net/devices/pi-17".
	Resource string
	// RawResource is the same as it stood in the token: what was signed.
	RawResource string
	// Expires is the end of the token's life.
	Expires time.Time
	// Policy is the name of the key's policy, "" for a device's own key.
	Policy string

	rawExpires string
	signature  *secret
}

// ParseToken takes a shared access signature apart. Its fields may come in any order; space around it is ignored.
func ParseToken(text string) (Token, error) {
	fields, ok := strings.CutPrefix(trim(text), prefix)
	if !ok {
		return Token{}, errors.New(`shared access signature does not begin with "SharedAccessSignature "`)
	}
	var t Token
	seen := map[string]bool{}
	for field := range strings.SplitSeq(fields, "&") {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return Token{}, errors.New("shared access signature has a field without a value")
		}
		if seen[name] {
			return Token{}, errors.New("shared access signature has a field twice")
		}
		seen[name] = true
		if err := t.set(name, value); err != nil {
			return Token{}, err
		}
	}
	for _, name := range []string{"sr", "sig", "se"} {
		if !seen[name] {
			return Token{}, fmt.Errorf("shared access signature lacks %s", name)
		}
	}
	return t, nil
}

// SignedBy reports whether the key made this token, for the resource exactly as it was spelled in it.
func (t Token) SignedBy(k Key) bool {
	if k.IsZero() || t.signature == nil {
		return false
	}
	return hmac.Equal(*t.signature.bytes, k.sign(t.RawResource, t.rawExpires))
}

// String returns what the token is for and until when, without the signature.
func (t Token) String() string {
	return fmt.Sprintf("[token for %s until %s]", t.Resource, t.Expires.UTC().Format(time.RFC3339))
}

// GoString hides the signature from %#v.
func (t Token) GoString() string { return "sas.Token{" + t.Resource + " …}" }

func (t *Token) set(name, value string) error {
	// PathUnescape, for a "+" in base64 is a plus and not a space.
	text, err := url.PathUnescape(value)
	if err != nil {
		return errors.New("shared access signature has a broken % escape")
	}
	switch name {
	case "sr":
		t.RawResource, t.Resource = value, text
		if text == "" {
			return errors.New("shared access signature has an empty sr")
		}
	case "sig":
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) == 0 {
			return errors.New("shared access signature: sig is not base64")
		}
		t.signature = newSecret(raw)
	case "se":
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds < 0 || seconds > maxSeconds {
			return errors.New("shared access signature: se is not a number of seconds since 1970")
		}
		t.rawExpires, t.Expires = value, time.Unix(seconds, 0).UTC()
	case "skn":
		t.Policy = text
	}
	return nil // fields of later versions do no harm
}

// maxSeconds is the end of the year 9999, beyond which times no longer print.
const maxSeconds = 253402300799

// Resource returns what a token for a device, or with a module for that, has to name.
func Resource(host, device, module string) string {
	resource := host + "/devices/" + url.PathEscape(device)
	if module != "" {
		resource += "/modules/" + url.PathEscape(module)
	}
	return resource
}

// Covers reports whether a token for granted opens wanted: the same resource or one below it, compared by whole path segments, the host
// without regard to case. A scheme, a final slash and percent-encoding inside a segment make no difference.
func Covers(granted, wanted string) bool {
	g, w := segments(granted), segments(wanted)
	if len(g) > len(w) || g[0] == "" {
		return false
	}
	for i := range g {
		if g[i] != w[i] && (i > 0 || !strings.EqualFold(g[i], w[i])) {
			return false
		}
	}
	return true
}

func segments(resource string) []string {
	if _, rest, ok := strings.Cut(resource, "://"); ok {
		resource = rest
	}
	parts := strings.Split(strings.TrimSuffix(resource, "/"), "/")
	for i, part := range parts {
		if text, err := url.PathUnescape(part); err == nil {
			parts[i] = text
		}
	}
	return parts
}
