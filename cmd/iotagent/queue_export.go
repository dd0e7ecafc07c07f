package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"iotagent/agent"
	"iotagent/internal/cli"
	"iotagent/internal/durable"
)

type queueExport struct {
	lanesFlag
	Dead   bool   `help:"The dead letters, which the hub refused for good, in place of what is queued."`
	Output string `help:"Write into this file; - is standard output." default:"-" placeholder:"FILE" short:"o"`
	Force  bool   `help:"Replace the file if there is one."`
	JSON   bool   `hidden:"" help:"What it prints is JSON in any case."`
}

// Run writes one JSON object a line for each entry as it comes, so that memory does not grow with the queue.
func (c *queueExport) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	return c.export(ctx, std, queueAsker(f, logger(std, quiet)))
}

func (c *queueExport) export(ctx context.Context, std cli.IO, ask asker) error {
	if c.Output == "-" {
		_, err := c.write(ctx, std.Out, ask)
		return err
	}
	n := 0
	err := replaceFile(c.Output, c.Force, func(w io.Writer) (err error) {
		n, err = c.write(ctx, w, ask)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%d entries written to %s\n", n, c.Output)
	return nil
}

func (c *queueExport) write(ctx context.Context, w io.Writer, ask asker) (n int, err error) {
	buffered := bufio.NewWriterSize(w, 64<<10)
	encode := entryEncoder(buffered)
	req := agent.Request{Op: agent.OpQueueList, Lanes: c.Lane, Dead: c.Dead, Bodies: true}
	err = ask(ctx, req, func(a *agent.Answer) error {
		for i := range a.Entries {
			if err := encode(&a.Entries[i]); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	err = errors.Join(err, buffered.Flush())
	if err != nil {
		return n, fmt.Errorf("incomplete after %d entries: %w", n, err)
	}
	return n, nil
}

// replaceFile makes a file that has all that write writes, durable, or does not exist. It replaces a regular file only with force, and
// nothing else ever.
func replaceFile(path string, force bool, write func(io.Writer) error) error {
	if err := mayWrite(path, force); err != nil {
		return err
	}
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir)
	tmp, err := os.CreateTemp(dir, "."+base+".*.new") // mode 0600: messages are nobody else's
	if err != nil {
		return cli.Fail(cli.Failed, err, "name a file in a folder that you may write to")
	}
	if err = errors.Join(write(tmp), tmp.Sync(), tmp.Close()); err == nil {
		err = mayWrite(path, force) // it took a while
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return durable.SyncDir(dir)
}

func mayWrite(path string, force bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return cli.Fail(cli.Failed, fmt.Errorf("%s is no ordinary file, and is not replaced", path), "--output - writes to standard output")
	case !force:
		return cli.Fail(cli.Failed, fmt.Errorf("%s exists", path), "name another file, or add --force to replace it")
	}
	return nil
}
