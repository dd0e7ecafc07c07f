package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/clock"
	"iotagent/outbox"
)

// queueCommand looks into the outbox and tends it, through the daemon when it runs, directly when it does not. It reads no secrets.
type queueCommand struct {
	Stats  queueStats  `cmd:"" help:"Say how much is queued, for how long, and how the disk is."`
	List   queueList   `cmd:"" help:"Print a line for each message that is queued."`
	Export queueExport `cmd:"" help:"Write what is queued as JSON, a line for each message."`
	Check  queueCheck  `cmd:"" help:"Read every file of the outbox; 1 if one is damaged."`
	Repair queueRepair `cmd:"" help:"Replace damaged files by what can be read of them."`
	Purge  queuePurge  `cmd:"" help:"Throw queued messages away, and declare that to the hub."`
}

// asker puts one request to the queue and gives each answer to a function, whose error ends it.
type asker func(ctx context.Context, req agent.Request, each func(*agent.Answer) error) error

// queueAsker returns the way to the outbox that a configuration names. Whether the daemon runs is found out anew at each request.
func queueAsker(f *config.File, log *slog.Logger) asker {
	return func(ctx context.Context, req agent.Request, each func(*agent.Answer) error) error {
		var ask asker
		var done func() error
		err := untilFree(ctx, func() (err error) {
			ask, done, err = openAsker(ctx, f, changes(req), log)
			return err
		})
		if err != nil {
			return err
		}
		return errors.Join(ask(ctx, req, each), done())
	}
}

// changes says that a request must open the outbox for writing.
func changes(req agent.Request) bool {
	return req.Op == agent.OpQueueRepair || req.Op == agent.OpQueuePurge && !req.DryRun
}

func openAsker(ctx context.Context, f *config.File, write bool, log *slog.Logger) (ask asker, done func() error, err error) {
	conn, err := dialControl(ctx, f.Agent.StateDir)
	switch {
	case err == nil:
		return daemonAsker(conn), conn.Close, nil
	case !errors.Is(err, errNoDaemon):
		return nil, nil, cli.Fail(cli.Failed, err, "run it with sudo, or as a member of the group iotagent")
	}
	if _, err := os.Stat(outboxDir(f)); errors.Is(err, fs.ErrNotExist) { // nothing was ever queued, and looking makes no folders
		return askNothing, func() error { return nil }, nil
	}
	admin, done, err := openQueue(f, write, log)
	return directAsker(admin, clock.OpenAnchors(clock.Path(f.Agent.StateDir))), done, err
}

func outboxDir(f *config.File) string { return filepath.Join(f.Agent.StateDir, "outbox") }

// askNothing answers any request for an outbox that does not exist yet.
func askNothing(_ context.Context, _ agent.Request, each func(*agent.Answer) error) error {
	return each(&agent.Answer{
		Entries: []agent.QueueEntry{}, Report: &agent.QueueReport{Sound: true, Files: []agent.QueueFile{}}, Purged: &agent.QueuePurged{},
	})
}

func daemonAsker(conn net.Conn) asker {
	return func(ctx context.Context, req agent.Request, each func(*agent.Answer) error) error {
		return agent.AskEach(ctx, conn, req, each)
	}
}

func directAsker(admin outbox.Admin, known *clock.Anchors) asker {
	return func(ctx context.Context, req agent.Request, each func(*agent.Answer) error) error {
		return agent.AnswerQueue(ctx, admin, known, req, func(a *agent.Answer) error {
			if err := each(a); err != nil {
				return err
			}
			if a.Error != "" {
				return errors.New(a.Error)
			}
			return nil
		})
	}
}

// openQueue opens the outbox of a daemon that does not run.
func openQueue(f *config.File, write bool, log *slog.Logger) (outbox.Admin, func() error, error) {
	o := outboxOptions(f)
	o.ReadOnly, o.Logger = !write, log
	q, err := outbox.Open(outboxDir(f), o)
	switch {
	case errors.Is(err, outbox.ErrLocked):
		return nil, nil, err // untilFree tries again
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, cli.Fail(cli.Failed, err, "run it with sudo, or as the user iotagent")
	case err != nil && !write:
		return nil, nil, cli.Fail(cli.Failed, err, "if a file is damaged: iotagent queue repair")
	case err != nil:
		return nil, nil, cli.Fail(cli.Failed, err, "")
	}
	return q, q.Close, nil
}
