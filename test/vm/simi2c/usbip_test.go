package simi2c

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// kernel is the other side of a port.
type kernel struct {
	t    *testing.T
	conn net.Conn
	seq  uint32
}

// plugged returns the kernel's side of a plugged-in adapter.
func plugged(t *testing.T, a *Adapter) *kernel {
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- (&port{adapter: a, conn: ours}).serve() }()
	t.Cleanup(func() {
		_ = theirs.Close() // a pipe's end
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &kernel{t: t, conn: theirs}
}

func (k *kernel) write(b []byte) {
	k.t.Helper()
	if _, err := k.conn.Write(b); err != nil {
		k.t.Fatal(err)
	}
}

// submit begins a control transfer.
func (k *kernel) submit(s setup, data []byte) (seq uint32) {
	k.t.Helper()
	k.seq++
	h := make([]byte, headerSize)
	be, le := binary.BigEndian, binary.LittleEndian
	be.PutUint32(h[0:], cmdSubmit)
	be.PutUint32(h[4:], k.seq)
	be.PutUint32(h[12:], uint32(s.requestType>>7))
	be.PutUint32(h[24:], uint32(s.length))
	h[40], h[41] = s.requestType, s.request
	le.PutUint16(h[42:], s.value)
	le.PutUint16(h[44:], s.index)
	le.PutUint16(h[46:], s.length)
	k.write(append(h, data...))
	return k.seq
}

// result takes the next packet: its command, whose it is, status and, for a transfer that reads, the data.
func (k *kernel) result(in bool) (command, seq uint32, status int32, data []byte) {
	k.t.Helper()
	h := make([]byte, headerSize)
	if _, err := io.ReadFull(k.conn, h); err != nil {
		k.t.Fatal(err)
	}
	be := binary.BigEndian
	command, seq, status = be.Uint32(h[0:]), be.Uint32(h[4:]), int32(be.Uint32(h[20:]))
	if in && command == retSubmit {
		data = make([]byte, be.Uint32(h[24:]))
		if _, err := io.ReadFull(k.conn, data); err != nil {
			k.t.Fatal(err)
		}
	}
	return command, seq, status, data
}

// ask carries out one transfer that reads.
func (k *kernel) ask(s setup) (data []byte, status int32) {
	k.t.Helper()
	want := k.submit(s, nil)
	command, seq, status, data := k.result(true)
	if command != retSubmit || seq != want {
		k.t.Fatalf("answer %d to %d, want %d to %d", command, seq, retSubmit, want)
	}
	return data, status
}

func TestKernelFindsAdapter(t *testing.T) {
	k := plugged(t, &Adapter{})
	for _, row := range []struct {
		value uint16
		want  []byte
	}{
		{kindDevice << 8, descriptor(kindDevice, 0)},
		{kindConfig << 8, descriptor(kindConfig, 0)},
		{kindString << 8, []byte{4, 3, 9, 4}},
		{kindString<<8 | 2, []byte("\x1a\x03i\x002\x00c\x00-\x00t\x00i\x00n\x00y\x00-\x00u\x00s\x00b\x00")},
	} {
		got, status := k.ask(setup{requestType: 0x80, request: getDescriptor, value: row.value, length: 255})
		if status != 0 || !bytes.Equal(got, row.want) {
			t.Errorf("descriptor 0x%04x: %d % x, want % x", row.value, status, got, row.want)
		}
	}
	if d := descriptor(kindDevice, 0); len(d) != int(d[0]) {
		t.Errorf("the device descriptor has %d bytes and says %d", len(d), d[0])
	}
	if d := descriptor(kindConfig, 0); len(d) != int(d[2]) {
		t.Errorf("the configuration descriptor has %d bytes and says %d", len(d), d[2])
	}
	if got, _ := k.ask(setup{requestType: 0x80, request: getDescriptor, value: kindDevice << 8, length: 8}); len(got) != 8 {
		t.Errorf("asked for 8 bytes, got %d", len(got))
	}
	if _, status := k.ask(setup{requestType: 0x80, request: getDescriptor, value: 6 << 8, length: 10}); status != -32 {
		t.Errorf("a descriptor that is not there: %d, want -32 (EPIPE)", status)
	}
	if got, _ := k.ask(setup{requestType: 0xc0, request: cmdFuncs, length: 4}); !bytes.Equal(got, []byte{1, 0, 0xff, 0x0e}) {
		t.Errorf("functions % x", got)
	}
}

func TestTransfer(t *testing.T) {
	var a Adapter
	a.Put(0x50, &EEPROM{})
	k := plugged(t, &a)
	seq := k.submit(setup{requestType: 0x41, request: cmdIO | 1, index: 0x50, length: 1}, []byte{7})
	if command, got, status, _ := k.result(false); command != retSubmit || got != seq || status != 0 {
		t.Errorf("write: %d to %d, status %d", command, got, status)
	}
	if got, _ := k.ask(setup{requestType: 0xc1, request: cmdIO | 2, value: flagRead, index: 0x50, length: 2}); !bytes.Equal(got, []byte{Byte(7), Byte(8)}) {
		t.Errorf("read: % x", got)
	}
	if got, _ := k.ask(setup{requestType: 0xc1, request: cmdStatus, length: 1}); got[0] != statusAck {
		t.Errorf("status %d", got[0])
	}
	k.ask(setup{requestType: 0xc1, request: cmdIO | 3, value: flagRead, index: 0x51, length: 2})
	if got, _ := k.ask(setup{requestType: 0xc1, request: cmdStatus, length: 1}); got[0] != statusNak {
		t.Errorf("status %d where there is no chip", got[0])
	}
	if a.Transfers() != 3 {
		t.Errorf("%d transfers", a.Transfers())
	}
}

// A transfer that the kernel takes back is not answered later; one that was answered cannot be taken back.
func TestUnlink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Adapter
		a.Put(0x50, &EEPROM{})
		k := plugged(t, &a)
		read := setup{requestType: 0xc1, request: cmdIO | 3, value: flagRead, index: 0x50, length: 1}
		unlink := func(victim uint32) int32 {
			h := make([]byte, headerSize)
			binary.BigEndian.PutUint32(h[0:], cmdUnlink)
			binary.BigEndian.PutUint32(h[4:], 1000+victim)
			binary.BigEndian.PutUint32(h[20:], victim)
			k.write(h)
			command, seq, status, _ := k.result(false)
			if command != retUnlink || seq != 1000+victim {
				t.Errorf("answer %d to %d", command, seq)
			}
			return status
		}
		a.Hang(true)
		if status := unlink(k.submit(read, nil)); status != -104 {
			t.Errorf("unlinked: %d, want -104 (ECONNRESET)", status)
		}
		a.Hang(false)
		a.Slow(3 * time.Second)
		began := time.Now()
		if _, status := k.ask(read); status != 0 || time.Since(began) != 3*time.Second {
			t.Errorf("status %d after %v", status, time.Since(began))
		}
		if status := unlink(k.seq); status != 0 {
			t.Errorf("unlinked too late: %d, want 0", status)
		}
		time.Sleep(time.Minute)
	})
}
