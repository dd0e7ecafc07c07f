package iothub

import (
	"sync"

	"iotagent/iothub/sas"
)

// keyring holds a device's two keys and which of them the hub took last. It outlives connections.
type keyring struct {
	keys [2]sas.Key

	mu    sync.Mutex
	first int
}

// newKeyring returns the keys of the options, none where a token was given in their place.
func newKeyring(o *Options) *keyring {
	if o.Token != "" || o.Auth == AuthX509 {
		return &keyring{}
	}
	k := &keyring{keys: [2]sas.Key{o.Key, o.SecondaryKey}}
	if o.Key.IsZero() {
		k.first = 1
	}
	return k
}

// inUse returns the number of the key to try first.
func (k *keyring) inUse() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.first
}

// other returns the number of the key to try after the nth; false when there is none.
func (k *keyring) other(n int) (int, bool) { return 1 - n, !k.keys[1-n].IsZero() }

// use has the nth key tried first from now on.
func (k *keyring) use(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.first = n
}

// name returns "primary" or "secondary", "" where there is no such key.
func (k *keyring) name(n int) string {
	if k.keys[n].IsZero() {
		return ""
	}
	return [2]string{"primary", "secondary"}[n]
}
