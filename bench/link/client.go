package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"iotagent/bench/device"
)

// bodyBytes is the size of every message's body.
const bodyBytes = 200

// job is what one client has to do.
type job struct {
	Name     string
	Messages int
	// Address of the sink and File with its certificate.
	Address, CA string
	// Data holds the state of a durable client.
	Data string
}

// result is what a client prints when the hub has accepted everything: what it took from the end of the handshakes to then.
type result struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	CPU     time.Duration `json:"cpu_ns"`
	// PeakRSS is of the whole life of the process, in bytes.
	PeakRSS int64 `json:"peak_rss"`
}

// clientCommand is the process of one client.
func clientCommand(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("client", flag.ContinueOnError)
	var j job
	f.StringVar(&j.Name, "name", "", "which client")
	f.IntVar(&j.Messages, "messages", 0, "how many")
	f.StringVar(&j.Address, "address", "", "of the sink")
	f.StringVar(&j.CA, "ca", "", "the sink's certificate")
	f.StringVar(&j.Data, "data", "", "state directory")
	profile := f.String("profile", "", "file that gets a CPU profile")
	if err := f.Parse(args); err != nil {
		return err
	}
	clients := map[string]func(context.Context, *job) (result, error){
		rawBlocking: sendBlocking, rawPipelined: sendPipelined, rawNamed: sendNamed, rawBatches: sendBatches,
		agentSingle: drainSingle, agentBatch: drainBatch,
	}
	send := clients[j.Name]
	if send == nil {
		return fmt.Errorf("no client called %q", j.Name)
	}
	if *profile != "" {
		stop, err := startProfile(*profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	r, err := send(ctx, &j)
	if err != nil {
		return err
	}
	if r.PeakRSS, err = peakRSS(); err != nil {
		return err
	}
	return say(r)
}

func startProfile(name string) (stop func() error, err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// meter measures what a client needs between two moments.
type meter struct {
	at  time.Time
	cpu time.Duration
}

func (m *meter) start() (err error) {
	m.at = time.Now()
	m.cpu, err = device.CPU()
	return err
}

func (m *meter) stop() (result, error) {
	elapsed := time.Since(m.at)
	cpu, err := device.CPU()
	return result{Elapsed: elapsed, CPU: cpu - m.cpu}, err
}

// peakRSS is the most that this process ever had resident (proc_pid_status(5)).
func peakRSS() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nVmHWM:")
	kib, _, found := strings.Cut(rest, " kB")
	if !found {
		return 0, errors.New("/proc/self/status: no VmHWM")
	}
	n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
	return n << 10, err
}

func (j *job) roots() (*tls.Config, error) {
	text, err := os.ReadFile(j.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate", j.CA)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}, nil
}

// body is JSON of bodyBytes bytes.
func body() []byte {
	const head = `{"sensor":"boiler","time":"2026-11-22T10:00:00.000Z","temperature_celsius":21.5,"note":"`
	return []byte(head + strings.Repeat("x", bodyBytes-len(head)-len(`"}`)) + `"}`)
}
