// Package headscale names the program to build, so that go.mod keeps what it needs.
package headscale

import _ "github.com/juanfont/headscale/cmd/headscale"
