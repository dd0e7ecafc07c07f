package sensors_test

import (
	"os"
	"sync"
	"testing"

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
