package ds18b20

import (
	"path/filepath"

	"iotagent/sensors"
)

// find lists the sensors of this kind on every 1-Wire bus of the kernel's.
func find(root string) []sensors.Found {
	ids, err := list(filepath.Join(root, "sys/bus/w1/devices"))
	if err != nil {
		return nil
	}
	var found []sensors.Found
	for _, id := range ids {
		found = append(found, sensors.Found{Chip: "DS18B20", Device: id, Channels: []string{"temperature"}, Config: &Config{ID: id}})
	}
	return found
}
