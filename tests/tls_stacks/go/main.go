// Handshakes by crypto/tls: what pilot-agent, istiod and the API server's webhooks are made of.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const dnsName = "workload.mesh.test"

type question struct{ Leaf, Key, Root string }

func main() {
	asked, answered := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var questions []question
		if err := asked.Decode(&questions); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		verdicts := make([]string, len(questions))
		for number, question := range questions {
			err := handshake(question)
			var refused *tls.CertificateVerificationError
			if errors.As(err, &refused) {
				verdicts[number] = refused.Error()
			} else if err != nil {
				log.Fatal(err)
			}
		}
		if err := answered.Encode(verdicts); err != nil {
			log.Fatal(err)
		}
	}
}

func handshake(asked question) error {
	shown, err := tls.X509KeyPair([]byte(asked.Leaf), []byte(asked.Key))
	if err != nil {
		log.Fatal(err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(asked.Root)) {
		log.Fatal("the root cannot be parsed")
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{shown},
		RootCAs:      trusted,
		ClientCAs:    trusted,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ServerName:   dnsName,
	}
	far, near := net.Pipe()
	defer near.Close()
	near.SetDeadline(time.Now().Add(20 * time.Second))
	served := make(chan error, 1)
	go func() {
		defer far.Close()
		served <- tls.Server(far, config).Handshake()
	}()
	client := tls.Client(near, config)
	if err := client.Handshake(); err != nil {
		near.Close()
		<-served
		return err
	}
	// In TLS 1.3 a client is done before the server has looked at what it showed. A ticket or an alert may come first.
	client.Read(make([]byte, 1))
	return <-served
}
