package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/bench/device"
	"iotagent/hubsim/amqpd"
)

const (
	// sinkCredit is what IoT Hub gives a device's telemetry link.
	sinkCredit = 1000
	// batchFormat is the message-format of IoT Hub's batches: each data section is a whole message.
	batchFormat = 0x80013700
	nodeCBS     = "$cbs"
)

// sink is the least that every client can take for an IoT Hub: it believes each token, counts messages and accepts them.
type sink struct {
	messages, transfers atomic.Int64
}

// tally is what a sink has done so far.
type tally struct {
	Messages  int64         `json:"messages"`
	Transfers int64         `json:"transfers"`
	CPU       time.Duration `json:"cpu_ns"`
}

// sinkAddress is the first line that a sink prints.
type sinkAddress struct {
	Address string `json:"address"`
}

// sinkCommand serves until standard input ends, and answers each line there with a tally.
func sinkCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("sink", flag.ContinueOnError)
	ca := f.String("ca", "", "file that gets the certificate")
	if err := f.Parse(args); err != nil {
		return err
	}
	cert, err := selfSigned(*ca)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &sink{}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		s.serve(ctx, l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	})
	err = errors.Join(say(sinkAddress{l.Addr().String()}), s.answer())
	cancel()
	_ = l.Close() // it only ends serve
	wg.Wait()
	return err
}

func (s *sink) answer() error {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		cpu, err := device.CPU()
		if err != nil {
			return err
		}
		if err := say(tally{Messages: s.messages.Load(), Transfers: s.transfers.Load(), CPU: cpu}); err != nil {
			return err
		}
	}
	return nil
}

// serve takes connections until l is closed, and ends them with ctx.
func (s *sink) serve(ctx context.Context, l net.Listener, config *tls.Config) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			_ = amqpd.Serve(ctx, tls.Server(conn, config), &amqpd.Config{Handler: s}) // a client's trouble is the client's to tell
		})
	}
}

func (*sink) Opened(*amqpd.Conn) error { return nil }

func (s *sink) Attach(l *amqpd.Link) error {
	if l.Role == amqpd.ClientSends {
		l.GrantCredit(sinkCredit)
	} else if l.Address() == nodeCBS {
		l.Conn().SetValue(&replies{link: l})
	}
	return nil
}

func (s *sink) Message(l *amqpd.Link, d *amqpd.Incoming) {
	d.Settle(amqpd.State{Kind: amqpd.Accepted})
	switch {
	case l.Address() == nodeCBS:
		s.welcome(l.Conn(), d.Payload)
		return
	case d.Format == batchFormat:
		s.messages.Add(dataSections(d.Payload))
	default:
		s.messages.Add(1)
	}
	s.transfers.Add(1)
}

// replies is a client's link for the answers to its token requests. An answer may have to wait for the client's credit.
type replies struct {
	link    *amqpd.Link
	waiting [][]byte
}

// welcome says yes to a put-token request.
func (s *sink) welcome(c *amqpd.Conn, request []byte) {
	var m amqp.Message
	r, ok := c.Value().(*replies)
	if err := m.UnmarshalBinary(request); err != nil || m.Properties == nil || !ok {
		c.Drop()
		return
	}
	payload, err := (&amqp.Message{
		Properties:            &amqp.MessageProperties{CorrelationID: m.Properties.MessageID},
		ApplicationProperties: map[string]any{"status-code": int32(200), "status-description": "OK"},
		Value:                 "",
	}).MarshalBinary()
	if err != nil {
		c.Drop()
		return
	}
	r.waiting = append(r.waiting, payload)
	s.Credit(r.link)
}

func (*sink) Credit(l *amqpd.Link) {
	r, ok := l.Conn().Value().(*replies)
	if !ok || r.link != l {
		return
	}
	for ; len(r.waiting) > 0 && l.Credit() > 0; r.waiting = r.waiting[1:] {
		if _, err := l.Send(r.waiting[0], nil); err != nil {
			l.Conn().Drop()
			return
		}
	}
}

func (*sink) Disposition(*amqpd.Link, *amqpd.Outgoing, amqpd.State, bool) {}
func (*sink) Detached(*amqpd.Link, error)                                 {}
func (*sink) Closed(*amqpd.Conn, error)                                   {}

// dataSections counts the data sections that a payload begins with (AMQP 1.0 part 3 §3.2.6).
func dataSections(p []byte) (n int64) {
	for len(p) >= 8 && p[0] == 0 && p[1] == 0x53 && p[2] == 0x75 {
		size := 0
		switch p[3] {
		case 0xa0:
			size = 5 + int(p[4])
		case 0xb0:
			size = 8 + (int(p[4])<<24 | int(p[5])<<16 | int(p[6])<<8 | int(p[7]))
		}
		if size == 0 || size > len(p) {
			break
		}
		p = p[size:]
		n++
	}
	return n
}

// selfSigned makes a certificate for localhost and writes it, without its key, to the file ca.
func selfSigned(ca string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(ca, text, 0o600)
}
