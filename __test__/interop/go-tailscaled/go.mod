module derpkit.test/tailscaled

go 1.27.3

require tailscale.com v1.104.5

replace github.com/tailscale/setec => github.com/tailscale/setec v0.0.0-20250205144240-8898a29c3fbb
