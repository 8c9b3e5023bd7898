"""The page of `deeprftv2 page`: a photograph is dropped, and its restored form looked at and downloaded."""
