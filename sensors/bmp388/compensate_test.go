package bmp388

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is one chip: its calibration and data bytes, and what they mean.
type row struct {
	name                  string
	words, data           string
	pressure, temperature uint32
	celsius, pascals      float64
	calib                 calibration
}

func rows() []row {
	return []row{
		{
			"BMP388", "236b5849f65cffcef42300ea636e79f3f6aa4312c4", "979f6d 73d885", 7184279, 8771699, 30.499314453874, 100876.006347,
			calibration{27427, 18776, -10, -164, -2866, 35, 0, 25578, 31086, -13, -10, 17322, 18, -60},
		},
		{
			"BMP390", "986ca94af9e31c61160601514ade5d03faf90e06f5", "cbb36b d1ba82", 7058379, 8567505, 25.770745473617, 98370.566285,
			calibration{27800, 19113, -7, 7395, 5729, 6, 1, 19025, 24030, 3, -6, 3833, 6, -11},
		},
		{
			"another BMP390", "986e134df9b01bc0150601924aae5d03fa080f06f5", "925165 79ce83", 6640018, 8638073, 25.498167027512, 100548.404778,
			calibration{28312, 19731, -7, 7088, 5568, 6, 1, 19090, 23982, 3, -6, 3848, 6, -11},
		},
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCompensation(t *testing.T) {
	for _, r := range rows() {
		c, err := parseCalibration(unhex(t, r.words))
		if diff := cmp.Diff(r.calib, c, cmp.AllowUnexported(calibration{})); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", r.name, err, diff)
		}
		p, temp, err := parseRaw(unhex(t, r.data))
		if err != nil || p != r.pressure || temp != r.temperature {
			t.Errorf("%s: raw %d, %d, %v; want %d, %d", r.name, p, temp, err, r.pressure, r.temperature)
		}
		celsius := c.celsius(temp)
		pascals := c.pascals(p, celsius)
		if math.Abs(celsius-r.celsius) > 1e-9 || math.Abs(pascals-r.pascals) > 1e-5 {
			t.Errorf("%s: %.12f °C, %.6f Pa; want %.12f, %.6f", r.name, celsius, pascals, r.celsius, r.pascals)
		}
	}
}

// integers are the formulas in 64 bits, another way to the same: hundredths of a degree and of a pascal.
func integers(c calibration, rawP, rawT uint32) (centi, centiPascals int64) {
	up := int64(rawP)
	d := int64(rawT) - int64(c.t1)<<8
	tl := (int64(c.t2)*d<<18 + int64(c.t3)*d*d) >> 32
	cubed := ((tl * tl) / 64 * tl) / 256
	offset := int64(c.p5)<<47 + int64(c.p8)*cubed/32 + (int64(c.p7)*tl*tl)<<4 + (int64(c.p6)*tl)<<22
	slope := (int64(c.p1)-1<<14)<<46 + int64(c.p4)*cubed/32 + (int64(c.p3)*tl*tl)<<2 + ((int64(c.p2)-1<<14)*tl)<<21
	square := (int64(c.p10)*tl + int64(c.p9)<<16) * up / 8192
	sum := offset/4 + slope/(1<<24)*up + 10*(up*(square/10)/512) + int64(c.p11)*up*up/65536*up/128
	return tl * 25 >> 14, int64(uint64(sum) * 25 >> 40)
}

func TestBothFormulasAgree(t *testing.T) {
	for _, r := range rows() {
		for _, shift := range []int64{-200000, -50000, 0, 50000, 200000} {
			up, ut := uint32(int64(r.pressure)+shift), uint32(int64(r.temperature)+3*shift)
			centi, centiPascals := integers(r.calib, up, ut)
			celsius := r.calib.celsius(ut)
			pascals := r.calib.pascals(up, celsius)
			if math.Abs(celsius-float64(centi)/100) > 0.011 || math.Abs(pascals-float64(centiPascals)/100) > 0.5 {
				t.Errorf("%s, shifted by %d: %g °C, %g Pa in floating point, %d and %d in hundredths", r.name, shift, celsius, pascals, centi, centiPascals)
			}
		}
	}
}

func TestCalibrationWords(t *testing.T) {
	got, err := parseCalibration(unhex(t, "1234567801 0a01abcd42ffefbead0b02e7fefe8040"))
	want := calibration{13330, 30806, 1, 266, -12885, 66, -1, 48879, 2989, 2, -25, -258, -128, 64}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(calibration{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	good := unhex(t, rows()[0].words)
	for name, zeroed := range map[string]int{"T1": 0, "T2": 2, "P5": 11} {
		b := append([]byte(nil), good...)
		b[zeroed], b[zeroed+1] = 0, 0
		if _, err := parseCalibration(b); !errors.Is(err, errImplausible) {
			t.Errorf("%s = 0: %v, want errImplausible", name, err)
		}
	}
}

// Whatever the bytes are, a chip gives values within its range or an error.
func FuzzDecode(f *testing.F) {
	for _, r := range rows() {
		f.Add(unhex(f, r.words), unhex(f, r.data))
	}
	f.Fuzz(func(t *testing.T, words, data []byte) {
		if len(words) != calibrationSize || len(data) != dataSize {
			return
		}
		c, err := parseCalibration(words)
		if err != nil {
			return
		}
		samples, err := c.decode(data)
		if err != nil {
			if samples != nil {
				t.Fatalf("samples %v beside error %v", samples, err)
			}
			return
		}
		limits := [][2]float64{{-40, 85}, {30000, 125000}}
		if len(samples) != len(limits) {
			t.Fatalf("got %v", samples)
		}
		for i, s := range samples {
			if !(s.Value >= limits[i][0] && s.Value <= limits[i][1]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
