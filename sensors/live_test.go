package sensors_test

import (
	"bytes"
	"os"
	"sync"
	"testing"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
)

// On a real bus, named by IOTAGENT_LIVE_BME280, a thousand callers each get the chip's id, and nobody else's answer.
func TestLiveThousandCallers(t *testing.T) {
	name := os.Getenv("IOTAGENT_LIVE_BME280")
	if name == "" {
		t.Skip("needs a BME280 or BMP280 at 0x76: set IOTAGENT_LIVE_BME280 to its bus")
	}
	hw := sensors.NewHardware("/", nil)
	dev, err := sensors.OpenI2C(hw, name, 0x76)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			grow(i % 50)
			var id [1]byte
			if err := dev.Tx(t.Context(), []byte{0xd0}, id[:]); err != nil || (id[0] != 0x58 && id[0] != 0x60) {
				t.Errorf("chip id 0x%02x, %v", id[0], err)
			}
		})
	}
	wg.Wait()
	if err := hw.Close(); err != nil {
		t.Error(err)
	}
}

// On a real port, named by IOTAGENT_LIVE_SPI, whose data lines are joined, a thousand callers each get back what they sent.
func TestLiveSPILoop(t *testing.T) {
	name := os.Getenv("IOTAGENT_LIVE_SPI")
	if name == "" {
		t.Skip("needs an SPI port with MOSI joined to MISO: set IOTAGENT_LIVE_SPI to its name")
	}
	hw := sensors.NewHardware("/", nil)
	dev, err := sensors.OpenSPI(hw, name, physic.MegaHertz, spi.Mode0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			grow(i % 50)
			w := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1+i%32)
			r := make([]byte, len(w))
			if err := dev.Tx(t.Context(), w, r); err != nil || !bytes.Equal(w, r) {
				t.Errorf("sent % x, got % x, %v", w, r, err)
			}
		})
	}
	wg.Wait()
	if err := hw.Close(); err != nil {
		t.Error(err)
	}
}
