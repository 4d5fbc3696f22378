"""Where does the model look?"""
