// Package sas holds connection strings and shared access signatures of IoT Hub (PROTOCOL: token and connection string formats of
// Microsoft's "Control access to IoT Hub by using shared access signatures").
package sas

// Key is a shared access key, decoded. It never prints itself.
type Key struct {
	bytes []byte
}

// IsZero reports whether the key is absent.
func (k Key) IsZero() bool { return len(k.bytes) == 0 }

// String hides the key.
func (k Key) String() string { return "[key]" }

// GoString hides the key from %#v.
func (k Key) GoString() string { return "sas.Key{…}" }
