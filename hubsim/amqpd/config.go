package amqpd

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"time"
)

const (
	maxFrameLimit = 16 << 20 // what MaxFrameSize may be at most
	maxSASLFrame  = 64 << 10 // tokens in PLAIN are longer than the 512 bytes of the specification
)

// withDefaults returns a copy of the configuration with every zero value replaced.
func (cfg *Config) withDefaults() *Config {
	c := *cfg
	if c.Mechanisms == nil {
		c.Mechanisms = []string{"PLAIN", "ANONYMOUS", "MSSBCBS", "EXTERNAL"}
	}
	if c.ContainerID == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails, says its documentation
		c.ContainerID = "DeviceGateway_" + hex.EncodeToString(id[:])
	}
	c.MaxFrameSize = min(max(cmp.Or(c.MaxFrameSize, 65536), minFrameSize), maxFrameLimit)
	c.ChannelMax = cmp.Or(c.ChannelMax, 8191)
	c.HandleMax = cmp.Or(c.HandleMax, 8191)
	c.MaxLinks = cmp.Or(c.MaxLinks, 16384)
	c.IncomingWindow = cmp.Or(c.IncomingWindow, 5000)
	c.MaxMessageSize = cmp.Or(c.MaxMessageSize, 1<<20)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 240*time.Second)
	c.MinPeerIdleTimeout = cmp.Or(c.MinPeerIdleTimeout, 5*time.Second)
	c.DefaultPeerIdleTimeout = cmp.Or(c.DefaultPeerIdleTimeout, 120*time.Second)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 60*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 2*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &c
}
