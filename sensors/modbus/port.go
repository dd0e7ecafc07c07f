package modbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// ports opens connections. The zero value has none, see orReal.
type ports struct {
	tcp    func(ctx context.Context, host string) (net.Conn, error)
	serial func(a address) (serialPort, error)
}

// orReal fills in the machine's own.
func (p ports) orReal(root string) ports {
	if p.tcp == nil {
		p.tcp = dial
	}
	if p.serial == nil {
		p.serial = func(a address) (serialPort, error) { return openTTY(filepath.Join(root, a.device), a) }
	}
	return p
}

// open opens the link of a line.
func (p ports) open(ctx context.Context, a address) (link, error) {
	if a.host != "" {
		conn, err := p.tcp(ctx, a.host)
		if err != nil {
			return nil, err
		}
		return &tcpLink{conn: conn}, nil
	}
	port, err := p.serial(a)
	if err != nil {
		return nil, err
	}
	return &rtuLink{port: port, char: characterTime(a)}, nil
}

// dial connects to a server. Keep-alive probes find a peer that is gone while nobody asks.
func dial(ctx context.Context, host string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         3 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err == nil {
		return conn, nil
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w: is Modbus TCP switched on there: %w", err, sensors.ErrAbsent)
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.As(err, &dns) && dns.IsNotFound:
		return nil, fmt.Errorf("%w: %w", err, sensors.ErrAbsent)
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, fmt.Errorf("%w: %w", err, sensors.ErrTimeout)
	default:
		return nil, err
	}
}
