package vectors

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
)

// must is for what cannot fail unless this program is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func failf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func repeat(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func upper(s string) string { return strings.ToUpper(s) }

// withRandom runs f while crypto/rand yields first, first+1, first+2, … so
// that the nonce which types/key draws inside SealTo is known beforehand. The
// boxes in the file are therefore made by upstream's own code.
func withRandom(first byte, f func()) {
	real := rand.Reader
	rand.Reader = counting(first)
	defer func() { rand.Reader = real }()
	f()
}

type counting byte

func (c counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c) + byte(i)
	}
	return len(p), nil
}

var _ io.Reader = counting(0)

// longest returns the greatest length that is ok, given one that is and one
// that is not.
func longest(good, bad int, ok func(int) bool) int {
	if !ok(good) || ok(bad) {
		failf("no limit between %d and %d", good, bad)
	}
	for bad-good > 1 {
		if middle := (good + bad) / 2; ok(middle) {
			good = middle
		} else {
			bad = middle
		}
	}
	return good
}
