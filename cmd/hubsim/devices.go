package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"iotagent/hubsim"
)

// register makes known what the command line names and the state directory does not.
func (p *program) register(hub *hubsim.Server) error {
	for _, id := range p.Device {
		if err := addDevice(hub, id, nil); err != nil {
			return fmt.Errorf("--device: %w", err)
		}
	}
	for _, text := range p.X509 {
		id, file, _ := strings.Cut(text, "=")
		thumbprints := []string{}
		if file != "" {
			sum, err := thumbprint(file)
			if err != nil {
				return fmt.Errorf("--x509: %w", err)
			}
			thumbprints = append(thumbprints, sum)
		}
		if err := addDevice(hub, id, thumbprints); err != nil {
			return fmt.Errorf("--x509: %w", err)
		}
	}
	for _, file := range p.DeviceCA {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("--device-ca: %w", err)
		}
		if err := hub.AddDeviceCA(text); err != nil {
			return fmt.Errorf("--device-ca %s: %w", file, err)
		}
	}
	return nil
}

// addDevice registers a device, and with "ID/MODULE" its module too, unless they are; thumbprints other than nil mean certificates.
func addDevice(hub *hubsim.Server, id string, thumbprints []string) error {
	device, module, isModule := strings.Cut(id, "/")
	var err error
	if isModule {
		if _, err = hub.AddDevice(device); err != nil && !errors.Is(err, hubsim.ErrDeviceExists) {
			return err
		}
	}
	switch {
	case thumbprints != nil:
		_, err = hub.AddX509Device(id, thumbprints...)
	case isModule:
		_, err = hub.AddModule(device, module)
	default:
		_, err = hub.AddDevice(device)
	}
	if errors.Is(err, hubsim.ErrDeviceExists) {
		return nil
	}
	return err
}

// thumbprint returns the SHA-256 of the first certificate in a PEM file.
func thumbprint(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return "", fmt.Errorf("%s: no certificate in PEM form", file)
		}
		if block.Type == "CERTIFICATE" {
			sum := sha256.Sum256(block.Bytes)
			return hex.EncodeToString(sum[:]), nil
		}
	}
}
