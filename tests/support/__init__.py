"""What tests share: stand-ins, benches and the providers they are tried against."""
