package gpioline

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel finds the size of each structure in the number of its ioctl, and the fields at these places.
func TestLayout(t *testing.T) {
	size := func(request uint32) uintptr { return uintptr(request >> 16 & 0x3fff) }
	tests := []struct {
		name      string
		got, want uintptr
	}{
		{"gpiochip_info", unsafe.Sizeof(chipInfo{}), size(unix.GPIO_GET_CHIPINFO_IOCTL)},
		{"gpio_v2_line_info", unsafe.Sizeof(lineInfo{}), size(unix.GPIO_V2_GET_LINEINFO_IOCTL)},
		{"gpio_v2_line_request", unsafe.Sizeof(lineRequest{}), size(unix.GPIO_V2_GET_LINE_IOCTL)},
		{"gpio_v2_line_values", unsafe.Sizeof(lineValues{}), size(unix.GPIO_V2_LINE_SET_VALUES_IOCTL)},
		{"gpio_v2_line_attribute", unsafe.Sizeof(attribute{}), 16},
		{"gpio_v2_line_config_attribute", unsafe.Sizeof(configAttribute{}), 24},
		{"gpio_v2_line_config", unsafe.Sizeof(lineConfig{}), 272},
		{"line_request.config", unsafe.Offsetof(lineRequest{}.config), 288},
		{"line_request.num_lines", unsafe.Offsetof(lineRequest{}.numLines), 560},
		{"line_request.fd", unsafe.Offsetof(lineRequest{}.fd), 588},
		{"line_config.attrs", unsafe.Offsetof(lineConfig{}.attrs), 32},
		{"line_attribute.values", unsafe.Offsetof(attribute{}.value), 8},
		{"line_request.event_buffer_size", unsafe.Offsetof(lineRequest{}.eventBufferSize), 564},
		{"gpio_v2_line_event", unsafe.Sizeof(lineEvent{}), 48},
		{"line_event.line_seqno", unsafe.Offsetof(lineEvent{}.lineSeqno), 20},
		{"line_info.flags", unsafe.Offsetof(lineInfo{}.flags), 72},
		{"line_info.attrs", unsafe.Offsetof(lineInfo{}.attrs), 80},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestNotAChip(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "gpiochip0")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{plain: unix.ENOTTY, plain + "x": unix.ENOENT, "/dev/null": unix.ENOTTY} {
		if _, err := ReadChip(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		line := Line{Chip: Chip{Path: path}}
		if _, err := TakeOutput(line, "test", true); !errors.Is(err, want) {
			t.Errorf("output %s: %v, want %v", path, err, want)
		}
		if _, err := TakeInput(line, InputOptions{}); !errors.Is(err, want) {
			t.Errorf("input %s: %v, want %v", path, err, want)
		}
	}
}
