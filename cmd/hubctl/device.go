package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type deviceCommand struct {
	Create  deviceCreate  `cmd:"" help:"Register a device; the hub makes its keys."`
	List    deviceList    `cmd:"" help:"List the devices, the first thousand."`
	Show    deviceShow    `cmd:"" help:"Show a device."`
	Disable deviceDisable `cmd:"" help:"Keep a device out."`
	Enable  deviceEnable  `cmd:"" help:"Let a device in again."`
	Delete  deviceDelete  `cmd:"" help:"Take a device out of the registry, with its keys, its twin and its queue."`
}

// secretFlags say whether, and where to, a device's connection string goes; without one of them nobody sees it.
type secretFlags struct {
	PrintConnectionString bool   `help:"Print the device's connection string, which is a secret, and nothing else." xor:"secret"`
	WriteConnectionString string `help:"Write the device's connection string into a new file, mode 0600." placeholder:"FILE" xor:"secret"`
}

// open makes the file, before anything is changed that could not be told about afterwards.
func (f *secretFlags) open() (*os.File, error) {
	if f.WriteConnectionString == "" {
		return nil, nil //nolint:nilnil // no file is wanted
	}
	file, err := os.OpenFile(f.WriteConnectionString, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, cli.Fail(cli.Failed, fmt.Errorf("--write-connection-string: %w", err), "a file that is there already is not overwritten")
	}
	return file, nil
}

// discard takes an open file back for which there is nothing to write.
func discard(file *os.File) {
	if file != nil {
		_ = errors.Join(file.Close(), os.Remove(file.Name())) // the reason is told already
	}
}

// show prints a device, or its secret where that was asked for.
func (f *secretFlags) show(std cli.IO, client *service.Client, d *service.Device, file *os.File, asJSON bool) error {
	if !f.PrintConnectionString && file == nil {
		return printDevice(std.Out, d, asJSON)
	}
	cs, ok := client.ConnectionString(d)
	if !ok {
		discard(file)
		return cli.Fail(cli.Failed, fmt.Errorf("device %s: the hub shows no key of it", d.ID), "a device with a certificate has none")
	}
	if file == nil {
		_, err := fmt.Fprintln(std.Out, cs.Text())
		return err
	}
	_, err := fmt.Fprintln(file, cs.Text())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(file.Name()) // half a secret helps nobody
		return fmt.Errorf("--write-connection-string: %w", err)
	}
	return printDevice(std.Out, d, asJSON)
}

type deviceCreate struct {
	Device string `arg:"" help:"Device id."`
	secretFlags
	JSON bool `help:"Print JSON."`
}

// Run registers a device.
func (c *deviceCreate) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	file, err := c.open()
	if err != nil {
		return err
	}
	d, err := client.CreateDevice(ctx, c.Device)
	if err != nil {
		discard(file)
		return h.adviseHTTPS(err)
	}
	return c.show(std, client, d, file, c.JSON)
}

type deviceShow struct {
	Device string `arg:"" help:"Device id."`
	secretFlags
	JSON bool `help:"Print JSON."`
}

// Run shows a device.
func (c *deviceShow) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	d, err := client.Device(ctx, c.Device)
	if err != nil {
		return h.adviseHTTPS(err)
	}
	file, err := c.open()
	if err != nil {
		return err
	}
	return c.show(std, client, d, file, c.JSON)
}

type deviceList struct {
	JSON bool `help:"Print one JSON object a line."`
}

// Run lists the devices.
func (c *deviceList) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	all, err := client.Devices(ctx)
	if err != nil {
		return h.adviseHTTPS(err)
	}
	if len(all) >= service.MaxDevices {
		fmt.Fprintf(std.Err, "these are the first %d devices; the hub lists no more\n", len(all))
	}
	if !c.JSON {
		return printDevices(std.Out, time.Local, all)
	}
	for _, d := range all {
		if err := printDevice(std.Out, d, true); err != nil {
			return err
		}
	}
	return nil
}

type deviceDisable struct {
	Device string `arg:"" help:"Device id."`
	Reason string `help:"Why, for those who look it up." placeholder:"TEXT"`
	JSON   bool   `help:"Print JSON."`
}

// Run keeps a device out.
func (c *deviceDisable) Run(ctx context.Context, std cli.IO, h *hub) error {
	return setStatus(ctx, std.Out, h, c.Device, false, c.Reason, c.JSON)
}

type deviceEnable struct {
	Device string `arg:"" help:"Device id."`
	JSON   bool   `help:"Print JSON."`
}

// Run lets a device in.
func (c *deviceEnable) Run(ctx context.Context, std cli.IO, h *hub) error {
	return setStatus(ctx, std.Out, h, c.Device, true, "", c.JSON)
}

func setStatus(ctx context.Context, out io.Writer, h *hub, device string, enabled bool, reason string, asJSON bool) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	d, err := client.SetDeviceStatus(ctx, device, enabled, reason)
	if err != nil {
		return h.adviseHTTPS(err)
	}
	return printDevice(out, d, asJSON)
}

type deviceDelete struct {
	Device string `arg:"" help:"Device id."`
	JSON   bool   `help:"Print JSON."`
}

// Run deletes a device.
func (c *deviceDelete) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	if err := client.DeleteDevice(ctx, c.Device); err != nil {
		return h.adviseHTTPS(err)
	}
	if c.JSON {
		return encoder(std.Out).Encode(map[string]string{"deleted": c.Device})
	}
	_, err = fmt.Fprintln(std.Out, "deleted", printable(c.Device))
	return err
}
