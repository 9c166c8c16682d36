"""The client in web frameworks: started and closed with the application."""
