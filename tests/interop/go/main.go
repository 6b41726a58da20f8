// What a Go client needs a configured server for: TLS, nkeys, JWT credentials, WebSocket, lame duck.
//
//	features gen DIR          writes the servers' configurations (ROW.conf) and what clients need to DIR
//	features check ROW DIR    connects to NATS_URL as the row says and exchanges a message; "READY" asks for the signal (lame duck)
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func main() {
	err := errors.New("gen DIR or check ROW DIR")
	switch {
	case len(os.Args) == 3 && os.Args[1] == "gen":
		err = generate(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "check":
		err = check(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func generate(dir string) error {
	w := func(name, text string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	if err := certificate(dir); err != nil {
		return err
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	conf, creds, err := operator()
	if err != nil {
		return err
	}
	return errors.Join(
		w("TLS.conf", fmt.Sprintf("tls { cert_file: %q, key_file: %q, timeout: 5 }\n", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))),
		w("nkey.conf", fmt.Sprintf("authorization { users: [ { nkey: %s } ] }\n", public)),
		w("nkey.seed", string(seed)),
		w("JWT.conf", conf),
		w("user.creds", creds),
		w("WebSocket.conf", "websocket { listen: \"127.0.0.1:-1\", no_tls: true }\n"),
	)
}

func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(240 * time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

// operator makes an operator, an account and a user; it returns the server's configuration and the user's credentials.
func operator() (conf, creds string, err error) {
	op, err := nkeys.CreateOperator()
	if err != nil {
		return "", "", err
	}
	acc, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	opKey, _ := op.PublicKey()
	accKey, _ := acc.PublicKey()
	userKey, _ := user.PublicKey()
	opJWT, err := jwt.NewOperatorClaims(opKey).Encode(op)
	if err != nil {
		return "", "", err
	}
	accJWT, err := jwt.NewAccountClaims(accKey).Encode(op)
	if err != nil {
		return "", "", err
	}
	userJWT, err := jwt.NewUserClaims(userKey).Encode(acc)
	if err != nil {
		return "", "", err
	}
	seed, _ := user.Seed()
	text, err := jwt.FormatUserConfig(userJWT, seed)
	conf = fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }\n", opJWT, accKey, accJWT)
	return conf, string(text), err
}

func check(row, dir string) error {
	lame := make(chan bool, 1)
	var opts []nats.Option
	switch row {
	case "TLS":
		opts = append(opts, nats.RootCAs(filepath.Join(dir, "cert.pem")))
	case "nkey":
		o, err := nats.NkeyOptionFromSeed(filepath.Join(dir, "nkey.seed"))
		if err != nil {
			return err
		}
		opts = append(opts, o)
	case "JWT":
		opts = append(opts, nats.UserCredentials(filepath.Join(dir, "user.creds")))
	case "lame duck":
		opts = append(opts, nats.LameDuckModeHandler(func(*nats.Conn) { lame <- true }))
	}
	nc, err := nats.Connect(os.Getenv("NATS_URL"), opts...)
	if err != nil {
		return err
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("hello")
	if err != nil {
		return err
	}
	if err := nc.Publish("hello", []byte("x")); err != nil {
		return err
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		return err
	}
	if row != "lame duck" {
		return nil
	}
	fmt.Println("READY")
	select {
	case <-lame:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("no word of lame duck mode within 10 s")
	}
}
