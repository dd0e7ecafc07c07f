package sensors

import (
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The numbers are those that a C program prints that includes linux/spi/spidev.h.
func TestSPIKernelInterface(t *testing.T) {
	for name, n := range map[string][2]uint32{
		"SPI_IOC_MESSAGE(1)":       {spiMessage1, 0x40206b00},
		"SPI_IOC_RD_MODE":          {spiRead | spiMode, 0x80016b01},
		"SPI_IOC_WR_MODE":          {spiWrite | spiMode, 0x40016b01},
		"SPI_IOC_WR_BITS_PER_WORD": {spiWrite | spiBitsPerWord, 0x40016b03},
		"SPI_IOC_WR_MAX_SPEED_HZ":  {spiWrite | spiMaxSpeed, 0x40046b04},
	} {
		if n[0] != n[1] {
			t.Errorf("%s is 0x%08x, want 0x%08x", name, n[0], n[1])
		}
	}
	var x spiTransfer
	got := [...]uintptr{
		unsafe.Sizeof(x), unsafe.Offsetof(x.tx), unsafe.Offsetof(x.rx), unsafe.Offsetof(x.length), unsafe.Offsetof(x.speed), unsafe.Offsetof(x.delay),
		unsafe.Offsetof(x.bits), unsafe.Offsetof(x.csChange), unsafe.Offsetof(x.txNbits), unsafe.Offsetof(x.rxNbits), unsafe.Offsetof(x.wordDelay),
	}
	if want := [...]uintptr{32, 0, 8, 16, 20, 24, 26, 27, 28, 29, 30}; got != want {
		t.Errorf("struct spi_ioc_transfer has size and offsets %d, want %d", got, want)
	}
}

// A file that is no device takes no transfer; what is handed to the kernel is let go of each time.
func TestSPITransfersThatAreRefused(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "spidev")
	if err != nil {
		t.Fatal(err)
	}
	p := &spidevPort{fd: int(f.Fd()), name: f.Name()}
	for name, tt := range map[string]struct {
		w, r []byte
		want error
	}{
		"both":     {make([]byte, 4), make([]byte, 4), unix.ENOTTY},
		"write":    {make([]byte, 4), nil, unix.ENOTTY},
		"read":     {nil, make([]byte, 4096), unix.ENOTTY},
		"nothing":  {nil, nil, nil},
		"uneven":   {make([]byte, 4), make([]byte, 3), nil},
		"too much": {make([]byte, 4097), nil, nil},
	} {
		err := p.Tx(tt.w, tt.r)
		if tt.want != nil && !errors.Is(err, tt.want) || (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if err := p.Tx([]byte{1}, nil); !errors.Is(err, unix.ENODEV) {
		t.Errorf("after the device file went: %v, want ENODEV", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
