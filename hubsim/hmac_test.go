package hubsim_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"iotagent/iothub/sas"
)

// hmacSHA256 signs with a key by hand, independently of package sas.
func hmacSHA256(k sas.Key, text string) string {
	raw, err := base64.StdEncoding.DecodeString(k.Text())
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
