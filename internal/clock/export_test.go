package clock

// Rewrite reads an anchor file and writes it again.
func Rewrite(text []byte) ([]byte, error) {
	boots, err := parseAnchors(text)
	if err != nil {
		return nil, err
	}
	return (&Anchors{boots: boots}).encodeLocked(), nil
}

func BootID(path string) string { return bootID(path) }
