module handshakes

go 1.21
