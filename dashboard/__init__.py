"""The dashboard: a Streamlit app over the gold tables. Needs the extra `playlake[dashboard]`."""
