// Package tailscaled names the program to build, so that go.mod keeps what it needs.
package tailscaled

import _ "tailscale.com/cmd/tailscaled"
