package hubsim

import (
	"encoding/hex"
	"strings"
)

// cleanThumbprints returns one or two SHA-1 or SHA-256 thumbprints in the registry's spelling: hexadecimal in capitals, without separators.
func cleanThumbprints(texts ...string) (clean [2]string, err error) {
	n := 0
	for _, text := range texts {
		text = strings.ToUpper(strings.NewReplacer(":", "", " ", "", "-", "").Replace(text))
		if text == "" {
			continue
		}
		if raw, err := hex.DecodeString(text); err != nil || len(raw) != 20 && len(raw) != 32 {
			return clean, badArgument("thumbprint: want the SHA-1 or SHA-256 of a certificate in hexadecimal, 40 or 64 digits.")
		}
		if n == len(clean) {
			return clean, badArgument("thumbprint: want one or two.")
		}
		clean[n] = text
		n++
	}
	if n == 0 {
		return clean, badArgument("thumbprint: want at least one for a device of type %s.", authSelfSigned)
	}
	return clean, nil
}
