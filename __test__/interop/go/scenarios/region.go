package scenarios

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

var regionScenarios = []Scenario{
	{"region-ideal-node", overTLS(regionIdealNode)},
}

// regionIdealNode connects the way tailscaled does, by a DERP map. If the first
// node of the region is down, the client says that it would rather be there.
func regionIdealNode(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	watcher, err := e.dial("watcher", at, withMesh(meshKey), withWatch())
	if err != nil {
		return err
	}
	if _, err := watcher.expectPresent(); err != nil { // itself
		return err
	}
	here, err := e.node("1a", at)
	if err != nil {
		return err
	}
	dead := *here
	dead.Name = "1b"
	if dead.DERPPort, err = closedPort(); err != nil {
		return err
	}
	for _, c := range []struct {
		nodes []*tailcfg.DERPNode
		flags derp.PeerPresentFlags
	}{
		{[]*tailcfg.DERPNode{here, &dead}, derp.PeerPresentIsRegular},
		{[]*tailcfg.DERPNode{&dead, here}, derp.PeerPresentNotIdeal},
	} {
		config, err := e.tlsConfig("")
		if err != nil {
			return err
		}
		k := key.NewNode()
		region := derphttp.NewRegionClient(k, discard, netmon.NewStatic(), func() *tailcfg.DERPRegion {
			return &tailcfg.DERPRegion{RegionID: 900, RegionCode: "test", Nodes: c.nodes}
		})
		region.TLSConfig = config
		client := e.adopt("region client", k.Public(), region)
		if err := client.login(); err != nil {
			return err
		}
		got, err := watcher.expectPresent()
		if err != nil {
			return err
		}
		if got.Key != client.key || got.Flags != c.flags {
			return fmt.Errorf("first node %s: the watcher is told %s, want flags %#x", c.nodes[0].Name, show(got), c.flags)
		}
		if err := client.exchange(client, packet(1, 100)); err != nil {
			return err
		}
		client.Close()
		if err := watcher.expectPeerGone(client.key, derp.PeerGoneReasonDisconnected); err != nil {
			return err
		}
	}
	return nil
}

// node describes a face of the relay as a DERP map does.
func (e *Env) node(name string, at endpoint) (*tailcfg.DERPNode, error) {
	address, err := netip.ParseAddrPort(at.address)
	if err != nil {
		return nil, err
	}
	n := &tailcfg.DERPNode{Name: name, RegionID: 900, HostName: at.serverName, DERPPort: int(address.Port()), STUNPort: -1}
	if address.Addr().Is4() {
		n.IPv4, n.IPv6 = address.Addr().String(), "none"
	} else {
		n.IPv4, n.IPv6 = "none", address.Addr().String()
	}
	return n, nil
}

// closedPort returns a port that nobody listens on.
func closedPort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
