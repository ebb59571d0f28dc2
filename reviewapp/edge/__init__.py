"""What stands between the web server and the pages: who asks, the log, a missing database."""
