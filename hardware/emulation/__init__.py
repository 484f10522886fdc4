"""An emulated UR controller on loopback: the ports that the real client library talks to, with physics behind them."""
