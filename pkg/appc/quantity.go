// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Faults of quantities.
var (
	ErrQuantityFormat  = errors.New(`quantities must match the regular expression '` + quantityPattern + `'`)
	ErrQuantityNumber  = errors.New("unable to parse numeric part of quantity")
	ErrQuantitySuffix  = errors.New("unable to parse quantity's suffix")
	ErrQuantityTooBig  = errors.New("quantity is out of range (at most 2^63-1)")
	ErrQuantityTooLong = errors.New("quantity has too many digits")
)

const (
	quantityPattern = `^([+-]?[0-9.]+)([eEimkKMGTP]*[-+]?[0-9]*)$`
	// maxQuantityLen keeps the arithmetic on outside text small.
	maxQuantityLen = 64
	// maxExponent is beyond every value that fits.
	maxExponent = 100
)

var (
	quantityRE = compiled(quantityPattern)
	numberRE   = compiled(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`)
)

// scale is how a quantity was written and is written again.
type scale int

const (
	decimalSI scale = iota
	binarySI
	decimalExponent
)

// Quantity is an amount with a precision of one thousandth: "64Mi", "500m",
// "1e3". The zero value is 0. Quantities are comparable with ==.
type Quantity struct {
	// units is the amount rounded down, milli (0 to 999) what is left.
	units int64
	milli int16
	scale scale
}

// ParseQuantity parses an optional sign, a decimal number and a suffix: m, k, M, G,
// T, P, E (K is taken as k), Ki, Mi, Gi, Ti, Pi, Ei or a decimal exponent such as e3. What is
// more precise than a thousandth is rounded up.
func ParseQuantity(s string) (Quantity, error) {
	if len(s) > maxQuantityLen {
		return Quantity{}, fmt.Errorf("%w: %d characters", ErrQuantityTooLong, len(s))
	}
	parts := quantityRE().FindStringSubmatch(s)
	if parts == nil {
		return Quantity{}, fmt.Errorf("%q: %w", s, ErrQuantityFormat)
	}
	if !numberRE().MatchString(parts[1]) {
		return Quantity{}, fmt.Errorf("%q: %w", s, ErrQuantityNumber)
	}
	number, ok := new(big.Rat).SetString(parts[1])
	if !ok {
		return Quantity{}, fmt.Errorf("%q: %w", s, ErrQuantityNumber)
	}
	factor, sc, err := parseSuffix(parts[2])
	if err != nil {
		return Quantity{}, fmt.Errorf("%q: %w", s, err)
	}
	q, err := newQuantity(number.Mul(number, factor), sc)
	if err != nil {
		return Quantity{}, fmt.Errorf("%q: %w", s, err)
	}
	return q, nil
}

func newQuantity(amount *big.Rat, sc scale) (Quantity, error) {
	thousandths := new(big.Rat).Mul(amount, big.NewRat(1000, 1))
	// Ceiling: -floor(-x), and Euclidean division by a positive number is floor.
	n := new(big.Int).Neg(thousandths.Num())
	n.Div(n, thousandths.Denom()).Neg(n)
	milli := new(big.Int)
	n.DivMod(n, big.NewInt(1000), milli)
	q := Quantity{units: n.Int64(), milli: int16(milli.Int64()), scale: sc}
	if !n.IsInt64() || q.units == math.MinInt64 || q.units == math.MaxInt64 && q.milli > 0 {
		return Quantity{}, ErrQuantityTooBig
	}
	return q, nil
}

// parseSuffix returns what the number before the suffix is multiplied by.
func parseSuffix(suffix string) (*big.Rat, scale, error) {
	one := big.NewRat(1, 1)
	switch suffix {
	case "":
		return one, decimalSI, nil
	case "m":
		return big.NewRat(1, 1000), decimalSI, nil
	case "K":
		suffix = "k"
	}
	if i := strings.Index(decimalSuffixes, suffix); i >= 0 && len(suffix) == 1 {
		return power(10, 3*(i+1)), decimalSI, nil
	}
	if letter, ok := strings.CutSuffix(suffix, "i"); ok && len(letter) == 1 {
		if i := strings.Index(binarySuffixes, letter); i >= 0 {
			return power(2, 10*(i+1)), binarySI, nil
		}
	}
	if suffix[0] == 'e' || suffix[0] == 'E' {
		exponent, err := strconv.Atoi(suffix[1:])
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange):
			return nil, 0, ErrQuantitySuffix
		case err != nil || exponent > maxExponent || exponent < -maxExponent:
			return nil, 0, ErrQuantityTooBig
		case exponent < 0:
			return one.Inv(power(10, -exponent)), decimalExponent, nil
		}
		return power(10, exponent), decimalExponent, nil
	}
	return nil, 0, ErrQuantitySuffix
}

const (
	decimalSuffixes = "kMGTPE"
	binarySuffixes  = "KMGTPE"
)

func power(base, exponent int) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(int64(base)), big.NewInt(int64(exponent)), nil))
}

// Value returns the amount in whole units, rounded up.
func (q Quantity) Value() int64 {
	if q.milli > 0 {
		return q.units + 1
	}
	return q.units
}

// MilliValue returns the amount in thousandths. Amounts beyond the range of
// int64 return its nearest end.
func (q Quantity) MilliValue() int64 {
	switch {
	case q.units > (math.MaxInt64-int64(q.milli))/1000:
		return math.MaxInt64
	case q.units < math.MinInt64/1000:
		return math.MinInt64
	}
	return q.units*1000 + int64(q.milli)
}

// IsNegative tells whether the amount is below zero.
func (q Quantity) IsNegative() bool { return q.units < 0 }

// String returns the canonical form: no fraction, the largest suffix of the
// kind in which q was written.
func (q Quantity) String() string {
	if q.scale == binarySI && q.milli == 0 && (q.units <= -1024 || q.units >= 1024) {
		n, i := reduce(q.units, 1024, len(binarySuffixes))
		if i == 0 {
			return strconv.FormatInt(n, 10)
		}
		return strconv.FormatInt(n, 10) + binarySuffixes[i-1:i] + "i"
	}
	if q.milli > 0 {
		return q.fraction()
	}
	n, i := reduce(q.units, 1000, len(decimalSuffixes))
	text := strconv.FormatInt(n, 10)
	switch {
	case i == 0:
		return text
	case q.scale == decimalExponent:
		return text + "e" + strconv.Itoa(3*i)
	}
	return text + decimalSuffixes[i-1:i]
}

// fraction writes thousandths, of which there may be more than an int64 holds.
func (q Quantity) fraction() string {
	n := new(big.Int).Mul(big.NewInt(q.units), big.NewInt(1000))
	n.Add(n, big.NewInt(int64(q.milli)))
	if q.scale == decimalExponent {
		return n.String() + "e-3"
	}
	return n.String() + "m"
}

// reduce divides n by base while nothing is lost, at most limit times.
func reduce(n, base int64, limit int) (int64, int) {
	i := 0
	for ; n != 0 && n%base == 0 && i < limit; i++ {
		n /= base
	}
	return n, i
}

// MarshalJSON writes the canonical form as a JSON string.
func (q Quantity) MarshalJSON() ([]byte, error) { return json.Marshal(q.String()) }

// UnmarshalJSON reads a JSON string or number.
func (q *Quantity) UnmarshalJSON(data []byte) error {
	text := string(bytes.TrimSpace(data))
	if text == "null" {
		return nil
	}
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	parsed, err := ParseQuantity(text)
	if err != nil {
		return err
	}
	*q = parsed
	return nil
}
