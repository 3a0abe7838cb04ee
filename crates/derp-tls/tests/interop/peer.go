// The other side of go.rs: a client that hears its echo, or a server that echoes one connection.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
)

// x25519MLKEM768 is the only group: there is no connection without it.
const x25519MLKEM768 tls.CurveID = 4588

func main() {
	role, port, name, suite := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	config := &tls.Config{ServerName: name, NextProtos: []string{"http/1.1"}}
	if id := must(strconv.ParseUint(suite, 10, 16)); id != 0 {
		config.MaxVersion = tls.VersionTLS12
		config.CipherSuites = []uint16{uint16(id)}
	} else {
		config.MinVersion = tls.VersionTLS13
		config.CurvePreferences = []tls.CurveID{x25519MLKEM768}
	}
	var err error
	if role == "client" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(must(os.ReadFile(os.Args[5]))) {
			log.Fatal("no root")
		}
		err = call(must(tls.Dial("tcp", "127.0.0.1:"+port, config)))
	} else {
		config.Certificates = []tls.Certificate{must(tls.LoadX509KeyPair(os.Args[6], os.Args[7]))}
		err = serve(config)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func call(conn *tls.Conn) error {
	if protocol := conn.ConnectionState().NegotiatedProtocol; protocol != "http/1.1" {
		return fmt.Errorf("agreed on %q", protocol)
	}
	said, heard := make([]byte, 300_000), make([]byte, 300_000)
	if _, err := rand.Read(said); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(said)
		failed <- err
	}()
	if _, err := io.ReadFull(conn, heard); err != nil {
		return err
	}
	if !bytes.Equal(said, heard) {
		return errors.New("that was no echo")
	}
	if err := <-failed; err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	// The end has to be the peer's close_notify: without one it would be another error.
	if _, err := conn.Read(heard); err != io.EOF {
		return fmt.Errorf("after the end: %v", err)
	}
	return conn.Close()
}

func serve(config *tls.Config) error {
	listener := must(tls.Listen("tcp", "127.0.0.1:0", config))
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	conn := must(listener.Accept())
	if _, err := io.Copy(conn, conn); err != nil {
		return err
	}
	return conn.Close()
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
