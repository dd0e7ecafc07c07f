package execcmd

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"iotagent/c2d"
	"iotagent/internal/quantity"
)

//go:embed sample.toml
var sample string

// Type returns the handler type "exec".
func Type() c2d.Type {
	return c2d.Type{
		Name: "exec", Doc: "runs a program that the configuration names", Sample: sample,
		New: func() c2d.Config { return &Config{MaxOutput: quantity.Bytes{N: 64 << 10}} },
	}
}

var _ c2d.Config = (*Config)(nil)

// Config is what a [[command]] table of type "exec" may say.
type Config struct {
	// Path of the program; absolute.
	Path string `toml:"path"`
	// Args follow the program's name.
	Args []string `toml:"args"`
	// Dir to run in; absolute, default "/".
	Dir string `toml:"dir"`
	// Env names variables of the agent's environment to pass on ("TZ") or sets them ("MODE=soft").
	Env []string `toml:"env"`
	// MaxOutput bounds what is kept of standard output; default 64 KiB. The program may write more.
	MaxOutput quantity.Bytes `toml:"max_output"`
	// Idempotent says that running the program twice is as good as once.
	Idempotent bool `toml:"idempotent"`
}

// Validate implements c2d.Config.
func (c *Config) Validate(bad func(key, msg string)) {
	switch {
	case c.Path == "":
		bad("path", `is missing: name the program, such as "/usr/lib/iotagent/handlers.d/restart-plc"`)
	case !filepath.IsAbs(c.Path):
		bad("path", fmt.Sprintf("%q is not absolute: want the whole path, from /", c.Path))
	case strings.ContainsRune(c.Path, 0):
		bad("path", "contains a zero byte")
	}
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		bad("dir", fmt.Sprintf("%q is not absolute: want the whole path, from /", c.Dir))
	}
	for _, a := range c.Args {
		if strings.ContainsRune(a, 0) {
			bad("args", "an argument contains a zero byte")
		}
	}
	for _, e := range c.Env {
		name, _, _ := strings.Cut(e, "=")
		if name == "" || strings.ContainsAny(name, " \x00") || strings.ContainsRune(e, 0) {
			bad("env", fmt.Sprintf(`%q is neither a variable's name nor "NAME=value"`, e))
		}
	}
	const least, most = 1 << 10, 192 << 10
	if n := c.MaxOutput.N; c.MaxOutput.Problem() == "" && (n < least || n > most) {
		bad("max_output", "want 1KiB to 192KiB: a message to the hub holds 256KiB")
	}
}

// Open implements c2d.Config: it looks whether the program can be run.
func (c *Config) Open(_ context.Context, env c2d.Env) (c2d.Handler, error) {
	if err := executable(c.Path); err != nil {
		return nil, err
	}
	h := &handler{c: *c, name: env.Name, log: env.Logger}
	if h.c.Dir == "" {
		h.c.Dir = "/"
	}
	if info, err := os.Stat(h.c.Dir); err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("dir: %s is not a directory", h.c.Dir)
	}
	h.env = environment(c.Env, env.Name)
	return h, nil
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there: %w", path, err)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("%s may be changed by anyone (mode %04o), so it is not run: chmod o-w it", path, info.Mode().Perm())
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("%s may not be run by this user (mode %04o): try chmod 755: %w", path, info.Mode().Perm(), err)
	}
	return nil
}

// environment is all that the program gets to see of ours.
func environment(allowed []string, command string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8"}
	for _, name := range []string{"HOME", "LANG"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	for _, e := range allowed {
		if strings.Contains(e, "=") {
			env = append(env, e)
		} else if v, ok := os.LookupEnv(e); ok {
			env = append(env, e+"="+v)
		}
	}
	return append(env, "IOTAGENT_COMMAND="+command) // of two with one name os/exec passes the last
}
