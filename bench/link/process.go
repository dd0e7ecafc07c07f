package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// service is a process of ours that works until its standard input ends: a sink or a relay.
type service struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	errors  bytes.Buffer
	Address string
}

// self is a command that runs this program again.
func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, name, args...), nil //nolint:gosec // itself
}

// startService returns when the process listens.
func startService(ctx context.Context, args ...string) (*service, error) {
	cmd, err := self(ctx, args...)
	if err != nil {
		return nil, err
	}
	s := &service{cmd: cmd}
	cmd.Stderr = &s.errors
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var a sinkAddress
	if err := s.read(&a); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.Address = a.Address
	return s, nil
}

func (s *service) read(v any) error {
	if !s.out.Scan() {
		return fmt.Errorf("%s ended early: %w", s.cmd.Args[1], errors.Join(s.out.Err(), io.ErrUnexpectedEOF))
	}
	return json.Unmarshal(s.out.Bytes(), v)
}

// tally asks a sink what it has done.
func (s *service) tally() (t tally, err error) {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return t, err
	}
	return t, s.read(&t)
}

func (s *service) stop() error {
	err := s.in.Close()
	if werr := s.cmd.Wait(); werr != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w: %s", s.cmd.Args[1], werr, bytes.TrimSpace(s.errors.Bytes())))
	}
	return err
}

// output runs a program to its end and decodes the line that it prints.
func output(cmd *exec.Cmd, v any) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(text, v)
}
