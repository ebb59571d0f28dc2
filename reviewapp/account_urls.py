"""The addresses of signing in and out, and of one's own account."""

from django.urls import path

from reviewapp import accounts

urlpatterns = [
    path("sign-in/", accounts.sign_in, name="sign-in"),
    path("sign-out/", accounts.sign_out, name="sign-out"),
    path("account/", accounts.account, name="account"),
]
