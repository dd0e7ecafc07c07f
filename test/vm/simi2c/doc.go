// Package simi2c is an I²C adapter on USB with simulated chips, plugged into the running kernel: what a program in user space, or the
// kernel's own drivers, do with it goes the whole way through the kernel. The adapter is an i2c-tiny-usb (1), which does plain I²C,
// not only SMBus as the kernel's i2c-stub does; it is plugged in by USB/IP (2) through vhci-hcd, over a pair of sockets and without a
// network. Faults are switched on and off while it works.
//
// PlugIn needs root and the modules vhci-hcd, i2c-tiny-usb and i2c-dev. The chips alone need nothing.
//
// (1) Till Harbaum, i2c-tiny-usb; the kernel's drivers/i2c/busses/i2c-tiny-usb.c.
// (2) The kernel's Documentation/usb/usbip_protocol.rst.
package simi2c
