package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"iotagent/iothub/service"
)

// printDevices writes a table of devices for people.
func printDevices(w io.Writer, zone *time.Location, all []*service.Device) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no devices")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tSTATUS\tCONNECTION\tQUEUED\tLAST ACTIVITY")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", printable(d.ID), d.Status, strings.ToLower(d.ConnectionState), d.Queued, seen(d.LastActivity, zone))
	}
	return t.Flush()
}

func seen(at time.Time, zone *time.Location) string {
	if at.IsZero() {
		return "never"
	}
	return at.In(zone).Format("2006-01-02 15:04:05")
}

// printDevice writes one device, without its keys.
func printDevice(w io.Writer, d *service.Device, asJSON bool) error {
	if asJSON {
		return encoder(w).Encode(d)
	}
	status := d.Status
	if d.StatusReason != "" {
		status += " (" + printable(d.StatusReason) + ")"
	}
	var b bytes.Buffer
	for _, line := range [][2]string{
		{"device", printable(d.ID)},
		{"status", status},
		{"connection", strings.ToLower(d.ConnectionState)},
		{"last activity", seen(d.LastActivity, time.Local)},
		{"queued", counted(d.Queued, "command")},
		{"signs in with", signsIn(d.Authentication)},
	} {
		fmt.Fprintf(&b, "%-15s%s\n", line[0], line[1])
	}
	_, err := w.Write(b.Bytes())
	return err
}

// signsIn says in words how a device proves itself.
func signsIn(authentication string) string {
	switch authentication {
	case "sas":
		return "a key"
	case "selfSigned":
		return "a certificate by its thumbprint"
	case "certificateAuthority":
		return "a certificate by its authority"
	}
	return printable(authentication)
}

// printTwin writes a twin, a line for each property, without the times of changes.
func printTwin(w io.Writer, t *service.Twin, asJSON bool) error {
	if asJSON {
		return encoder(w).Encode(t)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  version %d  etag %s\n", printable(t.DeviceID), strings.ToLower(t.ConnectionState), t.Version, printable(t.ETag))
	for _, part := range []struct {
		name string
		text json.RawMessage
	}{{"tags", t.Tags}, {"desired", t.Desired}, {"reported", t.Reported}} {
		o, version := object(part.text)
		b.WriteString(part.name)
		if version != "" {
			fmt.Fprintf(&b, ", version %s", version)
		}
		b.WriteByte('\n')
		writeProperties(&b, "  ", o)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// object reads a part of a twin, with numbers as they are written; what the hub adds to it comes off.
func object(text json.RawMessage) (o map[string]any, version string) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&o) != nil {
		return nil, "" // a part that is absent
	}
	if n, ok := o["$version"].(json.Number); ok {
		version = n.String()
	}
	delete(o, "$version")
	delete(o, "$metadata")
	return o, version
}

// writeProperties writes "path = value" for every property, in the order of the names.
func writeProperties(b *strings.Builder, prefix string, o map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		path := prefix + printable(name)
		if below, ok := o[name].(map[string]any); ok && len(below) > 0 {
			writeProperties(b, path+".", below)
			continue
		}
		var text bytes.Buffer
		if encoder(&text).Encode(o[name]) != nil {
			text.WriteString("?") // cannot happen: it came as JSON
		}
		fmt.Fprintf(b, "%s = %s\n", path, printable(strings.TrimSpace(text.String())))
	}
}

// printResult writes a method's answer: what the device says for people, or both for scripts.
func printResult(w io.Writer, r *service.MethodResult, asJSON bool) error {
	if r.Payload == nil {
		r.Payload = json.RawMessage("null")
	}
	if asJSON {
		return encoder(w).Encode(r)
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, r.Payload, "", "  ") != nil {
		pretty.Reset()
		pretty.Write(r.Payload)
	}
	lines := []string{"status " + strconv.Itoa(r.Status)}
	if text := pretty.String(); text != "null" {
		for line := range strings.SplitSeq(text, "\n") {
			lines = append(lines, printable(line))
		}
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
