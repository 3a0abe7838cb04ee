// Command interop plays Tailscale clients against a DERP relay. It is built
// from the client's own packages, so what it calls right is what clients need.
//
//	interop -list                prints the names of the scenarios
//	interop -run NAME -tls …     runs one; exit status 0 or 1
//	interop -run NAME -max-tls 1.2 -tls …  the same, with clients that know no later version
//	interop -run NAME -transcript -tls …   the same, and prints what its clients were told
//	interop -ring PLAN           starts three relays as a mesh, and runs those for it
//	interop -talk N -tls …       connects N clients that talk in pairs, until its input ends; see scenarios.Talk
//	interop -vectors             prints the protocol vectors
//	interop -make-cert DIR -server-name NAME[,NAME…]
//	interop -autocert DIR -acme-directory URL -ca FILE -server-name NAME -http HOST:PORT
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"derpkit.test/interop/cert"
	"derpkit.test/interop/scenarios"
	"derpkit.test/interop/vectors"
)

func main() {
	list := flag.Bool("list", false, "print the names of the scenarios, one a line")
	run := flag.String("run", "", "run the scenario of this `name`")
	transcript := flag.Bool("transcript", false, "with -run, print what each client was told, instead of how long it took")
	timeout := flag.Duration("timeout", 60*time.Second, "how long a scenario may take")
	ring := flag.String("ring", "", "start the relays of this plan, a JSON `file`, as a mesh, and run what -run names, or all")
	talk := flag.Int("talk", 0, "connect this `number` of clients, an even one, that talk in pairs")
	printVectors := flag.Bool("vectors", false, "print the protocol vectors as JSON")
	makeCert := flag.String("make-cert", "", "write certificates for -server-name to this `directory`")

	autocertDir := flag.String("autocert", "", "fill this `directory` as Go's autocert does, for -server-name")
	acmeDirectory := flag.String("acme-directory", "", "`URL` of the CA's directory, for -autocert")
	httpAddress := flag.String("http", "", "where the CA comes to, for -autocert, as HOST:PORT")

	var target scenarios.Target
	flag.StringVar(&target.TLS, "tls", "", "TLS face of the relay, as https://HOST:PORT with an IP address")
	flag.StringVar(&target.Plain, "plain", "", "plain face of the relay, as http://HOST:PORT")
	flag.StringVar(&target.Port80, "port80", "", "plain face of the TLS relay, as http://HOST:PORT")
	stun := flag.String("stun", "", "STUN addresses, as HOST:PORT[,HOST:PORT…]")
	flag.StringVar(&target.CAFile, "ca", "", "PEM `file` that the relay's certificate is checked with")
	flag.StringVar(&target.ServerName, "server-name", "", "`name` in the relay's certificate")
	flag.StringVar(&target.MeshKeyFile, "mesh-key-file", "", "`file` with the relay's mesh key")
	maxTLS := flag.String("max-tls", "", "the highest `version` of TLS that clients offer: 1.2; Go's own choice without it")
	flag.Parse()
	switch *maxTLS {
	case "":
	case "1.2":
		target.MaxTLS = tls.VersionTLS12
	default:
		fail(2, fmt.Errorf("-max-tls is 1.2, not %q", *maxTLS))
	}
	if *stun != "" {
		target.STUN = strings.Split(*stun, ",")
	}

	switch {
	case flag.NArg() > 0:
		fail(2, fmt.Errorf("unexpected argument %q", flag.Arg(0)))
	case *list:
		for _, s := range scenarios.All() {
			fmt.Println(s.Name)
		}
		for _, s := range scenarios.RingScenarios() {
			fmt.Println(s.Name)
		}
	case *printVectors:
		os.Stdout.Write(vectors.Build())
	case *makeCert != "":
		if target.ServerName == "" {
			fail(2, fmt.Errorf("-make-cert needs -server-name"))
		}
		fail(1, cert.WriteFiles(*makeCert, strings.Split(target.ServerName, ",")))
	case *autocertDir != "":
		fail(1, cert.Autocert(*autocertDir, *acmeDirectory, target.CAFile, target.ServerName, *httpAddress))
	case *ring != "":
		var names []string
		if *run != "" {
			names = strings.Split(*run, ",")
		}
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		fail(1, scenarios.RunRing(ctx, *ring, names))
	case *talk > 0:
		fail(1, scenarios.Talk(context.Background(), target, *talk, os.Stdin, os.Stdout))
	case *run != "":
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		defer cancel()
		if *transcript {
			lines, err := scenarios.Transcribe(ctx, *run, target)
			fmt.Println(strings.Join(lines, "\n"))
			fail(1, err)
			return
		}
		start := time.Now()
		if err := scenarios.Run(ctx, *run, target); err != nil {
			fail(1, fmt.Errorf("%s failed after %v: %w", *run, time.Since(start).Round(time.Millisecond), err))
		}
		fmt.Printf("%s passed in %v\n", *run, time.Since(start).Round(time.Millisecond))
	default:
		flag.Usage()
		os.Exit(2)
	}
}

// fail ends the program if there is an error.
func fail(status int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(status)
	}
}
