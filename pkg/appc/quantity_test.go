// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
)

func TestParseQuantity(t *testing.T) {
	for _, c := range []struct {
		in    string
		value int64
		milli int64
		out   string
	}{
		{"0", 0, 0, "0"},
		{"42Mi", 44040192, 44040192000, "42Mi"},
		{"900m", 1, 900, "900m"},
		{"1500m", 2, 1500, "1500m"},
		{"1.5", 2, 1500, "1500m"},
		{"2", 2, 2000, "2"},
		{"16M", 16000000, 16000000000, "16M"},
		{"50k", 50000, 50000000, "50k"},
		{"50K", 50000, 50000000, "50k"},
		{"1024Ki", 1048576, 1048576000, "1Mi"},
		{"0.5Gi", 536870912, 536870912000, "512Mi"},
		{"1e3", 1000, 1000000, "1e3"},
		{"1E3", 1000, 1000000, "1e3"},
		{"12e-3", 1, 12, "12e-3"},
		{"1E", 1e18, math.MaxInt64, "1E"},
		{"1Ei", 1 << 60, math.MaxInt64, "1Ei"},
		{"9223372036854775807", math.MaxInt64, math.MaxInt64, "9223372036854775807"},
		{"0.0001", 1, 1, "1m"},
		{"0.0011", 1, 2, "2m"},
		{"-1.5", -1, -1500, "-1500m"},
		{"-0.0001", 0, 0, "0"},
		{"+3", 3, 3000, "3"},
		{".5", 1, 500, "500m"},
		{"5.", 5, 5000, "5"},
		{"100Ki", 102400, 102400000, "100Ki"},
		{"1000Ki", 1024000, 1024000000, "1000Ki"},
		{"0.5Ki", 512, 512000, "512"},
	} {
		q, err := ParseQuantity(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if q.Value() != c.value || q.MilliValue() != c.milli || q.String() != c.out {
			t.Errorf("%s: %d, %d, %s; want %d, %d, %s", c.in, q.Value(), q.MilliValue(), q, c.value, c.milli, c.out)
		}
	}
}

func TestParseQuantityFaults(t *testing.T) {
	for in, want := range map[string]error{
		"":                    ErrQuantityFormat,
		"Mi":                  ErrQuantityFormat,
		"1 Mi":                ErrQuantityFormat,
		"0x10":                ErrQuantityFormat,
		"1u":                  ErrQuantityFormat,
		"1.2.3":               ErrQuantityNumber,
		".":                   ErrQuantityNumber,
		"1mi":                 ErrQuantitySuffix,
		"1ki":                 ErrQuantitySuffix,
		"1MM":                 ErrQuantitySuffix,
		"1e":                  ErrQuantitySuffix,
		"1e+":                 ErrQuantitySuffix,
		"1Mi3":                ErrQuantitySuffix,
		"8Ei":                 ErrQuantityTooBig,
		"10E":                 ErrQuantityTooBig,
		"1e99":                ErrQuantityTooBig,
		"1e99999999999999999": ErrQuantityTooBig,
		"9223372036854775808": ErrQuantityTooBig,
		"00000000000000000000000000000000000000000000000000000000000000001": ErrQuantityTooLong,
	} {
		if q, err := ParseQuantity(in); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v, want %v", in, q, err, want)
		}
	}
}

// What parses prints back the same amount, and the printed form is canonical.
func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"42Mi", "900m", "-1.5", "1e3", "1E", "0.0001", "9223372036854775807m", "1e-100"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseQuantity(s)
		if err != nil {
			return
		}
		again, err := ParseQuantity(q.String())
		if err != nil || again.units != q.units || again.milli != q.milli || again.String() != q.String() {
			t.Fatalf("%q: %s, then %s, %v", s, q, again, err)
		}
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var decoded Quantity
		if err := json.Unmarshal(text, &decoded); err != nil || decoded.String() != q.String() {
			t.Fatalf("%q: %s became %s, %v", s, text, decoded, err)
		}
	})
}

func TestQuantityJSON(t *testing.T) {
	var r Resource
	if err := json.Unmarshal([]byte(`{"request":"1Gi","limit":2}`), &r); err != nil {
		t.Fatal(err)
	}
	if r.Request.Value() != 1<<30 || r.Limit.Value() != 2 {
		t.Errorf("%+v", r)
	}
	if err := json.Unmarshal([]byte(`{"request":true}`), &r); err == nil {
		t.Error("a boolean is a quantity")
	}
}
