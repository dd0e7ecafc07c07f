package all

import "testing"

func TestTypes(t *testing.T) {
	seen := map[string]bool{}
	for _, typ := range Types() {
		if typ.Name == "" || typ.Doc == "" || typ.Sample == "" || typ.New() == nil || seen[typ.Name] {
			t.Errorf("incomplete, or there twice: %+v", typ)
		}
		seen[typ.Name] = true
		if a, b := typ.New(), typ.New(); a == b {
			t.Errorf("%s: New returns the same configuration twice", typ.Name)
		}
	}
}
