"""The addresses of signing in and out, and of one's own account."""

from django.urls import path

from reviewapp import accounts, signing_in

urlpatterns = [
    path("sign-in/", signing_in.sign_in, name="sign-in"),
    path("sign-out/", signing_in.sign_out, name="sign-out"),
    path("account/", accounts.account, name="account"),
]
