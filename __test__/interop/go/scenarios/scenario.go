// Package scenarios holds what is asked of a relay, in the words of the real
// Tailscale client. A scenario knows nothing of the server but its addresses,
// so the same ones run against every implementation.
package scenarios

import (
	"context"
	"fmt"
)

// Scenario is one thing a relay has to do. Run returns nil if it does.
type Scenario struct {
	Name string
	Run  func(*Env) error
}

// All is every scenario, cheap ones first. Each file below adds its topic.
func All() []Scenario {
	var all []Scenario
	for _, topic := range [][]Scenario{
		loginScenarios, relayScenarios, peerGoneScenarios, pingScenarios, duplicateScenarios,
		meshScenarios, regionScenarios, webSocketScenarios, stunScenarios, webScenarios,
		metricsScenarios, trafficScenarios,
	} {
		all = append(all, topic...)
	}
	return all
}

// Run runs the scenario of that name.
func Run(ctx context.Context, name string, target Target) error {
	return run(ctx, name, target, func(*Env) {})
}

// run looks at what there is when the scenario is over, before it is cleared.
func run(ctx context.Context, name string, target Target, look func(*Env)) error {
	for _, s := range All() {
		if s.Name != name {
			continue
		}
		env := newEnv(ctx, target)
		defer env.close()
		err := s.Run(env)
		look(env)
		return err
	}
	return fmt.Errorf("no scenario is called %q; -list prints the names", name)
}
