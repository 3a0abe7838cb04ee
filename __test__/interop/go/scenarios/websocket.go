package scenarios

import (
	"errors"
	"fmt"

	"tailscale.com/envknob"
)

var webSocketScenarios = []Scenario{
	{"websocket", overPlain(webSocket)},
}

// webSocket uses the client's WebSocket mode, which browsers have to use. It is
// built in only with the tag ts_debug_websockets.
func webSocket(e *Env, at endpoint) error {
	raw, err := e.dial("raw client", at)
	if err != nil {
		return err
	}
	envknob.Setenv("TS_DEBUG_DERP_WS_CLIENT", "1") // ends with the process
	client, err := e.newClient("WebSocket client", at)
	if err != nil {
		return err
	}
	if err := client.login(); err != nil {
		return err
	}
	// This mode leaves out what the others record of the connection.
	if _, err := client.LocalAddr(); err == nil {
		return errors.New("the client did not use a WebSocket (is ts_debug_websockets missing in the build?)")
	}
	// Up to what fits in the largest message that upstream's server reads.
	for i, size := range []int{0, 1, 125, 126, 1400, 30000} {
		data := packet(uint64(i), size)
		if err := client.exchange(raw, data); err != nil {
			return fmt.Errorf("%d bytes from the WebSocket: %w", size, err)
		}
		if err := raw.exchange(client, data); err != nil {
			return fmt.Errorf("%d bytes to the WebSocket: %w", size, err)
		}
	}
	return errors.Join(client.expectNothing(), raw.expectNothing())
}
